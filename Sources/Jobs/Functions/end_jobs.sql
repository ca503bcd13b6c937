-- Moves jobs to the archive: the one way out of the live table. Counts them in their groups by
-- appending, releases the jobs that waited for them, and marks those that now can never start,
-- which larder.cascade ends. Returns the ids of those that were moved.
-- Either the caller holds their rows, or it gives a session and leases, and the join on (id, lease,
-- session, running) is the fence: what is not the session's is left alone.
-- Those who call it set what larder.claim says of plans; twice would cost as much as the work.
CREATE OR REPLACE FUNCTION larder.end_jobs(
    ids bigint[], states larder.job_state[], errors text[], results jsonb[],
    session uuid DEFAULT NULL, leases bigint[] DEFAULT NULL
) RETURNS bigint[] LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
    moved bigint[];
    endings larder.job_state[];
    in_run boolean;
BEGIN
    WITH ended AS (
        DELETE FROM larder.jobs j
        USING unnest(ids, states, errors, results, leases)
            AS x (id, ending, failure, result, lease)
        WHERE j.id = x.id
          -- The cast hides the index of running jobs: it looks small to the planner, which would
          -- walk all of it for every entry.
          AND (session IS NULL OR j.lease = x.lease AND j.session_id = session
                                  AND j.state::text = 'running')
        RETURNING j.*, x.ending, coalesce(x.failure, j.last_error) AS error, x.result
    ), archived AS (
        INSERT INTO larder.archive (id, run_id, group_id, created_at, started_at, session_id,
                                    queue_id, priority, attempt, max_attempts, timeout, state,
                                    kind, name, args, dedup_key, joins_group, result, error)
        SELECT id, run_id, group_id, created_at, started_at, session_id, queue_id, priority,
               attempt, max_attempts, timeout, ending, kind, name, args, dedup_key, joins_group,
               result, error
        FROM ended
    ), tried AS (
        INSERT INTO larder.attempts (job_id, attempt, lease, session_id, started_at, outcome, error)
        SELECT id, attempt, lease, session_id, started_at, ending, error
        FROM ended WHERE ending <> 'succeeded' AND lease IS NOT NULL
    ), counted AS (
        INSERT INTO larder.group_deltas
        SELECT group_id, count(*), count(*) FILTER (WHERE ending <> 'succeeded')
        FROM ended WHERE group_id IS NOT NULL GROUP BY group_id
    )
    SELECT array_agg(e.id), array_agg(e.ending), bool_or(e.run_id IS NOT NULL)
    INTO moved, endings, in_run FROM ended e;

    DELETE FROM larder.progress p WHERE p.job_id = ANY(moved);

    IF in_run THEN
        UPDATE larder.jobs j
        SET pending = j.pending - c.released,
            doomed_by = coalesce(j.doomed_by, c.doomed_by),
            state = CASE WHEN j.pending <= c.released THEN 'ready' ELSE 'waiting'
                    END::larder.job_state
        FROM (
            -- In id order, so that two endings with common children cannot deadlock.
            SELECT w.id, t.released, t.doomed_by
            FROM larder.jobs w
            JOIN (SELECT d.child_id,
                         count(*) FILTER (WHERE x.ending = 'succeeded' OR d.on_fail = 'ignore')::int
                             AS released,
                         min(x.id) FILTER (WHERE x.ending <> 'succeeded' AND d.on_fail = 'cancel')
                             AS doomed_by
                  FROM unnest(moved, endings) AS x (id, ending)
                  JOIN larder.dependencies d ON d.parent_id = x.id
                  GROUP BY d.child_id) t ON t.child_id = w.id
            WHERE w.state = 'waiting'
            ORDER BY w.id
            FOR UPDATE OF w) c
        WHERE j.id = c.id;
    END IF;
    RETURN moved;
END $$;
