-- $1 queue name, $2 session, $3 how many.
-- MATERIALIZED fences the planner: inlined, the LIMIT may run as the inner side of a loop and
-- more rows than asked for would be updated. SKIP LOCKED: two workers never wait for each other,
-- and never take the same job. A session that expired or drains gets nothing.
WITH live AS MATERIALIZED (
    SELECT q.id AS queue_id
    FROM larder.sessions s, larder.queues q
    WHERE q.name = $1::text AND q.paused_at IS NULL
      AND s.id = $2::uuid AND s.expires_at > clock_timestamp() AND NOT s.draining
), picked AS MATERIALIZED (
    SELECT j.id
    FROM larder.jobs j
    WHERE j.queue_id = (SELECT queue_id FROM live) AND j.state = 'ready'
    ORDER BY j.priority, j.id
    LIMIT $3::int
    FOR UPDATE SKIP LOCKED
)
UPDATE larder.jobs j
SET state = 'running', lease = nextval('larder.leases'), session_id = $2::uuid,
    attempt = j.attempt + 1, started_at = clock_timestamp(),
    deadline_at = clock_timestamp() + j.timeout, run_at = NULL
FROM picked
WHERE j.id = picked.id
RETURNING j.id, $1::text AS queue, j.run_id, j.lease, j.kind, j.name, j.args, j.attempt, j.max_attempts
