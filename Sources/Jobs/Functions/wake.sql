-- Tells listening workers that there is work, at most once a second for each queue: every
-- commit with a NOTIFY takes one lock for the whole server. Whoever finds the row locked goes on
-- without; workers poll every second anyway.
CREATE OR REPLACE FUNCTION larder.wake(queue text) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    UPDATE larder.queue_gates SET woken_at = clock_timestamp()
    WHERE queue_id = (
        SELECT g.queue_id FROM larder.queue_gates g JOIN larder.queues q ON q.id = g.queue_id
        WHERE q.name = queue
          AND g.woken_at NOT BETWEEN clock_timestamp() - interval '1 s' AND clock_timestamp()
        FOR UPDATE OF g SKIP LOCKED);
    IF FOUND THEN PERFORM pg_notify('larder_ready', queue); END IF;
END $$;
