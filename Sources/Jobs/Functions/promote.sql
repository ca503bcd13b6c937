-- Due jobs become ready; the claim's index has no time in it, so far-off jobs cost it nothing.
CREATE OR REPLACE FUNCTION larder.promote() RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
    ids bigint[];
    promoted bigint := 0;
BEGIN
    LOOP
        ids := ARRAY(SELECT j.id FROM larder.jobs j
                     WHERE j.state = 'scheduled' AND j.run_at <= clock_timestamp()
                     ORDER BY j.run_at LIMIT 1000 FOR UPDATE SKIP LOCKED);
        EXIT WHEN cardinality(ids) = 0;
        UPDATE larder.jobs j SET state = 'ready', run_at = NULL WHERE j.id = ANY(ids);
        promoted := promoted + cardinality(ids);
        PERFORM larder.wake(q.name) FROM larder.queues q
        WHERE q.id IN (SELECT j.queue_id FROM larder.jobs j WHERE j.id = ANY(ids));
        -- The rest comes with the next round; a transaction must not grow without bound.
        EXIT WHEN promoted >= 10000;
    END LOOP;
    RETURN promoted;
END $$;
