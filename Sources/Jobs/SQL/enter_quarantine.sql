-- $1 queue, $2 whether this worker is at something long. Whether it is to stop everything else for
-- a quarantined job: one worker every 10 s, and only while there are such jobs. One that would have
-- to wait for long is asked only when nobody has found the time for ten minutes.
UPDATE larder.queue_gates g SET quarantine_at = clock_timestamp()
WHERE g.queue_id = (
    SELECT o.queue_id FROM larder.queue_gates o JOIN larder.queues q ON q.id = o.queue_id
    WHERE q.name = $1 AND q.paused_at IS NULL
      AND o.quarantine_at NOT BETWEEN clock_timestamp() - interval '10 s' AND clock_timestamp()
      AND EXISTS (SELECT FROM larder.jobs j
                  WHERE j.queue_id = q.id AND j.state = 'ready' AND j.quarantined
                    AND (NOT $2::bool OR j.started_at < clock_timestamp() - interval '10 minutes'))
    FOR UPDATE OF o SKIP LOCKED)
