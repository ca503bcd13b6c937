-- Gives a session up to `count` ready jobs behind a place in the order of priority and id. `alone`
-- asks for quarantined jobs, which a worker runs with nothing beside them. A session that expired
-- or drains gets nothing.
-- The settings hold the plan: made once (planning takes as long as claiming), and never with a
-- scan of the whole table, which would be right for the small one it was made on and ruin for a
-- large one.
CREATE OR REPLACE FUNCTION larder.claim(
    queue text, session uuid, count int, after_priority int DEFAULT -32768, after_id bigint DEFAULT 0,
    alone boolean DEFAULT false
) RETURNS TABLE (id bigint, run_id bigint, group_id bigint, lease bigint, priority smallint,
                 kind text, name text, args jsonb, attempt smallint, max_attempts smallint,
                 checkpoint jsonb, stall_after double precision)
LANGUAGE plpgsql SET plan_cache_mode = force_generic_plan
SET enable_seqscan = off SET enable_bitmapscan = off
SET enable_hashjoin = off SET enable_mergejoin = off AS $$
#variable_conflict use_column
DECLARE
    q larder.queues;
    room int := claim.count;
BEGIN
    SELECT * INTO q FROM larder.queues u WHERE u.name = claim.queue AND u.paused_at IS NULL;
    IF NOT FOUND OR NOT EXISTS (
        SELECT FROM larder.sessions s
        WHERE s.id = session AND s.expires_at > clock_timestamp() AND NOT s.draining)
    THEN
        RETURN;
    END IF;
    IF q.max_running IS NOT NULL THEN
        -- One claimer at a time; the count is a statement of its own, with a snapshot taken
        -- after the lock, so that it sees the claims of the one before. "larder" in ASCII.
        PERFORM pg_advisory_xact_lock(1818325604, q.id);
        room := least(room, q.max_running - (
            SELECT count(*) FROM larder.jobs j WHERE j.queue_id = q.id AND j.state = 'running'));
        IF room <= 0 THEN RETURN; END IF;
    END IF;
    -- MATERIALIZED fences the planner: inlined, the LIMIT may run as the inner side of a loop,
    -- and more rows than asked for would be updated. SKIP LOCKED: two workers never wait for
    -- each other, and never take the same job.
    RETURN QUERY
    WITH picked AS MATERIALIZED (
        SELECT j.id, j.started_at IS NOT NULL AS again
        FROM larder.jobs j
        WHERE j.queue_id = q.id AND j.quarantined = alone AND j.state = 'ready'
          -- As a row, so that the index is entered there and not walked from its start.
          AND (j.priority, j.id) > (claim.after_priority::smallint, claim.after_id)
        ORDER BY j.priority, j.id
        LIMIT room
        FOR UPDATE SKIP LOCKED)
    UPDATE larder.jobs j
    SET state = 'running', lease = nextval('larder.leases'), session_id = session,
        attempt = j.attempt + 1, started_at = clock_timestamp(),
        deadline_at = clock_timestamp() + j.timeout, run_at = NULL
    FROM picked
    WHERE j.id = picked.id
    RETURNING j.id, j.run_id, j.group_id, j.lease, j.priority, j.kind, j.name, j.args, j.attempt,
              j.max_attempts,
              CASE WHEN picked.again
                   THEN (SELECT p.checkpoint FROM larder.progress p WHERE p.job_id = j.id) END,
              (SELECT extract(epoch FROM k.stall_after)::double precision
               FROM larder.kinds k WHERE k.name = j.kind);
END $$;
