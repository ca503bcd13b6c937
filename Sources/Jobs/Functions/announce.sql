-- Adds the jobs that tell others of a run: one that follows it as long as it goes on (`track`), and one
-- for each web-hook when it has ended (`notify`). A run that is retried ends once more, and is announced
-- once more. Returns how many runs have ended.
CREATE OR REPLACE FUNCTION larder.announce() RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
    run record;
    added bigint[];
    has_ended boolean;
    ended bigint := 0;
BEGIN
    FOR run IN
        SELECT r.id, r.queue, r.pipeline, r.announcements FROM larder.runs r
        WHERE r.announced_at IS NULL AND (r.pipeline ? 'track' OR r.pipeline ? 'notify')
        ORDER BY r.id LIMIT 1000 FOR UPDATE SKIP LOCKED
    LOOP
        -- Later than the row was read: its jobs came, or come back, in one transaction with it.
        has_ended := NOT EXISTS (SELECT FROM larder.jobs j WHERE j.run_id = run.id);
        added := '{}';
        -- One that succeeded did so for an earlier end; one that failed is not tried for ever.
        IF run.pipeline ? 'track' AND NOT EXISTS (
            SELECT FROM larder.all_jobs j
            WHERE j.id = ANY(run.announcements) AND j.kind = 'track' AND j.state <> 'succeeded')
        THEN
            added := added || larder.enqueue(
                'track', jsonb_build_object('run', run.id), run.queue, 10,
                dedup_key => 'track ' || run.id);
        END IF;
        IF has_ended THEN
            SELECT added || array_agg(larder.enqueue(
                'notify', jsonb_build_object('run', run.id, 'hook', hook), run.queue, 10))
            INTO added
            FROM generate_series(0, jsonb_array_length(coalesce(run.pipeline->'notify', '[]')) - 1) hook;
            ended := ended + 1;
        END IF;
        IF has_ended OR cardinality(added) > 0 THEN
            UPDATE larder.runs r
            SET announcements = r.announcements || added,
                announced_at = CASE WHEN has_ended THEN clock_timestamp() END
            WHERE r.id = run.id;
        END IF;
    END LOOP;
    RETURN ended;
END $$;
