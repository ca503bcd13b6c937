-- The number of a queue, which is made when it is first named. Looked at first: an INSERT draws
-- a number from the sequence even where the row is there, and there are only 32,767.
CREATE OR REPLACE FUNCTION larder.queue_id(queue text) RETURNS smallint LANGUAGE plpgsql AS $$
DECLARE
    found_id smallint;
BEGIN
    SELECT q.id INTO found_id FROM larder.queues q WHERE q.name = queue;
    IF found_id IS NULL THEN
        INSERT INTO larder.queues (name) VALUES (queue) ON CONFLICT (name) DO NOTHING;
        -- A new snapshot: the row may be another transaction's that has just committed.
        SELECT q.id INTO found_id FROM larder.queues q WHERE q.name = queue;
        INSERT INTO larder.queue_gates (queue_id) VALUES (found_id) ON CONFLICT DO NOTHING;
    END IF;
    RETURN found_id;
END $$;
