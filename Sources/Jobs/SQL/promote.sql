-- Due jobs become ready; the claim's index has no time in it, so far-off jobs cost it nothing.
WITH due AS MATERIALIZED (
    SELECT id FROM larder.jobs
    WHERE state = 'scheduled' AND run_at <= clock_timestamp()
    ORDER BY run_at
    LIMIT 1000
    FOR UPDATE SKIP LOCKED
)
UPDATE larder.jobs j SET state = 'ready', run_at = NULL FROM due WHERE j.id = due.id
