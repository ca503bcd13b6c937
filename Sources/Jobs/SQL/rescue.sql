-- Any worker, no leader: jobs past their deadline, and jobs whose session expired or is gone.
-- NOT EXISTS covers a deleted session row as well as an expired one. Locked row by row, so a
-- finish that gets there first wins and the row is skipped.
WITH orphaned AS MATERIALIZED (
    SELECT j.id, j.attempt >= j.max_attempts OR j.cancel_at IS NOT NULL AS spent,
           CASE WHEN j.deadline_at < clock_timestamp()
                THEN 'took longer than its timeout of ' || j.timeout
                ELSE 'its worker stopped sending heartbeats' END AS reason
    FROM larder.jobs j
    WHERE j.state = 'running'
      AND (j.deadline_at < clock_timestamp()
           OR NOT EXISTS (SELECT FROM larder.sessions s
                          WHERE s.id = j.session_id AND s.expires_at > clock_timestamp()))
    LIMIT 500
    FOR UPDATE OF j SKIP LOCKED
), requeued AS (
    UPDATE larder.jobs j
    SET state = 'ready', lease = NULL, session_id = NULL, last_error = o.reason
    FROM orphaned o
    WHERE j.id = o.id AND NOT o.spent
), ended AS (
    DELETE FROM larder.jobs j USING orphaned o WHERE j.id = o.id AND o.spent
    RETURNING j.*, o.reason
), archived AS (
    INSERT INTO larder.archive (id, run_id, group_id, created_at, started_at, session_id,
                                queue_id, attempt, max_attempts, state, kind, name, args, error)
    SELECT id, run_id, group_id, created_at, started_at, session_id, queue_id, attempt,
           max_attempts,
           CASE WHEN cancel_at IS NULL THEN 'failed' ELSE 'cancelled' END::larder.job_state,
           kind, name, args, reason || ', in its last attempt'
    FROM ended
), counted AS (
    INSERT INTO larder.group_deltas
    SELECT group_id, count(*), count(*) FROM ended WHERE group_id IS NOT NULL GROUP BY group_id
)
SELECT id, spent, reason FROM orphaned
