-- Days ahead for the archive, and days older than larder.retention dropped. Both need a lock that
-- readers of the archive hold: they wait 2 s for it and then leave it to the next hour, so that
-- nobody queues up behind.
CREATE OR REPLACE FUNCTION larder.partition_archive() RETURNS text[] LANGUAGE plpgsql
SET lock_timeout = '2s' AS $$
DECLARE
    today date := (clock_timestamp() AT TIME ZONE 'UTC')::date;
    day date;
    part record;
    done text[] := '{}';
BEGIN
    FOR ahead IN 1..3 LOOP
        day := today + ahead;
        IF to_regclass(format('larder.archive_%s', to_char(day, 'YYYYMMDD'))) IS NULL THEN
            BEGIN
                EXECUTE format(
                    'CREATE TABLE larder.archive_%s PARTITION OF larder.archive FOR VALUES FROM (%L) TO (%L)',
                    to_char(day, 'YYYYMMDD'), day::text || ' 00:00+00', (day + 1)::text || ' 00:00+00');
                done := done || format('made archive_%s', to_char(day, 'YYYYMMDD'));
            EXCEPTION WHEN lock_not_available THEN NULL;
            END;
        END IF;
    END LOOP;
    FOR part IN
        SELECT c.relname
        FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid, larder.retention r
        WHERE i.inhparent = 'larder.archive'::regclass AND c.relname ~ '^archive_[0-9]{8}$'
          AND to_date(right(c.relname, 8), 'YYYYMMDD') + 1
              <= ((clock_timestamp() - r.archive) AT TIME ZONE 'UTC')::date
    LOOP
        BEGIN
            EXECUTE format('DROP TABLE larder.%I', part.relname);
            done := done || format('dropped %s', part.relname);
        EXCEPTION WHEN lock_not_available THEN NULL;
        END;
    END LOOP;
    RETURN done;
END $$;

-- What is past its time and stands in no day of its own, at most 10,000 rows of each; how many
-- rows went.
CREATE OR REPLACE FUNCTION larder.clean() RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
    kept larder.retention;
    cut timestamptz;
    oldest bigint;
    gone bigint;
    total bigint := 0;
BEGIN
    SELECT * INTO kept FROM larder.retention;
    cut := clock_timestamp() - kept.archive;
    DELETE FROM larder.archive_default WHERE ctid = ANY(ARRAY(
        SELECT ctid FROM larder.archive_default WHERE finished_at < cut LIMIT 10000));
    GET DIAGNOSTICS gone = ROW_COUNT;
    total := total + gone;
    DELETE FROM larder.metrics WHERE ctid = ANY(ARRAY(
        SELECT ctid FROM larder.metrics WHERE at < clock_timestamp() - kept.metrics LIMIT 10000));
    GET DIAGNOSTICS gone = ROW_COUNT;
    total := total + gone;
    DELETE FROM larder.finished_work WHERE key = ANY(ARRAY(
        SELECT key FROM larder.finished_work
        WHERE created_at < clock_timestamp() - kept.metrics LIMIT 10000));
    GET DIAGNOSTICS gone = ROW_COUNT;
    total := total + gone;
    DELETE FROM larder.idempotency WHERE key = ANY(ARRAY(
        SELECT key FROM larder.idempotency WHERE expires_at < clock_timestamp() LIMIT 10000));
    GET DIAGNOSTICS gone = ROW_COUNT;
    total := total + gone;
    DELETE FROM larder.sessions WHERE expires_at < clock_timestamp() - interval '1 day';
    -- A run goes with its last job, unless a release that readers could get is its own.
    DELETE FROM larder.runs r
    WHERE r.created_at < cut
      AND NOT EXISTS (SELECT FROM larder.jobs j WHERE j.run_id = r.id)
      AND NOT EXISTS (SELECT FROM larder.archive a WHERE a.run_id = r.id)
      AND NOT EXISTS (SELECT FROM larder.releases l WHERE l.run_id = r.id AND l.state <> 'collected');
    DELETE FROM larder.groups g
    WHERE g.closed_at < cut AND NOT EXISTS (SELECT FROM larder.runs r WHERE r.id = g.run_id);
    -- Ids grow: below the lowest that is left, nothing is.
    oldest := least((SELECT min(id) FROM larder.jobs), (SELECT min(id) FROM larder.archive),
                    (SELECT last_value + 1 FROM larder.jobs_id_seq));
    -- But for what was being written while that was read: a sequence shows ids, and a later
    -- statement rows, of a transaction whose jobs were not there yet. A job and what it waits for
    -- come in one transaction, and are seen or not seen together.
    DELETE FROM larder.dependencies WHERE ctid = ANY(ARRAY(
        SELECT d.ctid FROM larder.dependencies d
        WHERE d.child_id < oldest
          AND NOT EXISTS (SELECT FROM larder.jobs j WHERE j.id = d.child_id)
          AND NOT EXISTS (SELECT FROM larder.archive a WHERE a.id = d.child_id)
        LIMIT 10000));
    GET DIAGNOSTICS gone = ROW_COUNT;
    total := total + gone;
    DELETE FROM larder.attempts WHERE ctid = ANY(ARRAY(
        SELECT ctid FROM larder.attempts WHERE job_id < oldest LIMIT 10000));
    GET DIAGNOSTICS gone = ROW_COUNT;
    RETURN total + gone;
END $$;
