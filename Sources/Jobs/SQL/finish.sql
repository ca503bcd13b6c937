-- $1 session; then arrays, one entry per job: $2 ids, $3 leases,
-- $4 outcomes (succeeded, retry, fatal), $5 errors, $6 results.
-- The join on (id, lease, session, running) is the fence: a worker that lost the job, or has
-- finished it already, changes nothing and gets no row back.
WITH finished AS MATERIALIZED (
    SELECT j.id, j.group_id, x.error, x.result,
           CASE WHEN x.outcome = 'succeeded' THEN 'succeeded'
                WHEN j.cancel_at IS NOT NULL THEN 'cancelled'
                WHEN x.outcome = 'retry' AND j.attempt < j.max_attempts THEN 'retry'
                ELSE 'failed' END AS outcome
    FROM unnest($2::bigint[], $3::bigint[], $4::text[], $5::text[], $6::text[])
        AS x (id, lease, outcome, error, result)
    JOIN larder.jobs j
        ON j.id = x.id AND j.lease = x.lease AND j.session_id = $1::uuid AND j.state = 'running'
    ORDER BY j.id
    FOR UPDATE OF j
), retried AS (
    -- Full jitter (AWS Architecture Blog, 2015): 0 to 2^attempt s, at most an hour.
    UPDATE larder.jobs j
    SET state = 'scheduled', lease = NULL, session_id = NULL, last_error = f.error,
        run_at = clock_timestamp()
            + least(interval '1 hour', interval '1 second' * power(2, least(j.attempt, 12)))
            * random()
    FROM finished f
    WHERE j.id = f.id AND f.outcome = 'retry'
), ended AS (
    DELETE FROM larder.jobs j
    USING finished f
    WHERE j.id = f.id AND f.outcome <> 'retry'
    RETURNING j.*, f.outcome, f.error, f.result
), archived AS (
    INSERT INTO larder.archive (id, run_id, group_id, created_at, started_at, session_id,
                                queue_id, attempt, max_attempts, state, kind, name, args, result,
                                error)
    SELECT id, run_id, group_id, created_at, started_at, session_id, queue_id, attempt,
           max_attempts, outcome::larder.job_state, kind, name, args, result::jsonb,
           coalesce(error, last_error)
    FROM ended
), forgotten AS (
    DELETE FROM larder.progress p USING ended e WHERE p.job_id = e.id
), released AS (
    SELECT d.child_id, count(*)::int AS parents
    FROM larder.dependencies d
    JOIN finished f ON f.id = d.parent_id
    WHERE f.outcome = 'succeeded'
    GROUP BY d.child_id
), locked AS (
    -- In id order, so that two finishes with common children cannot deadlock.
    SELECT j.id, r.parents
    FROM larder.jobs j
    JOIN released r ON r.child_id = j.id
    WHERE j.state = 'waiting'
    ORDER BY j.id
    FOR UPDATE OF j
), readied AS (
    UPDATE larder.jobs j
    SET pending = j.pending - l.parents,
        state = CASE WHEN j.pending <= l.parents THEN 'ready' ELSE 'waiting'
                END::larder.job_state
    FROM locked l
    WHERE j.id = l.id
), counted AS (
    INSERT INTO larder.group_deltas
    SELECT f.group_id, count(*), count(*) FILTER (WHERE f.outcome <> 'succeeded')
    FROM finished f
    WHERE f.group_id IS NOT NULL AND f.outcome <> 'retry'
    GROUP BY f.group_id
)
SELECT f.id, f.outcome, f.group_id FROM finished f
