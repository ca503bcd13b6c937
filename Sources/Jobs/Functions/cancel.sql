-- Jobs that have not started end at once; a running one is told by its worker's next heartbeat,
-- which a notification hurries. Returns what happened to each. Jobs that wait for a cancelled one
-- are ended by larder.cascade.
CREATE OR REPLACE FUNCTION larder.cancel(job_ids bigint[], reason text DEFAULT 'cancelled')
RETURNS TABLE (id bigint, outcome text) LANGUAGE plpgsql
SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off AS $$
#variable_conflict use_column
DECLARE
    running bigint[];
    idle bigint[];
BEGIN
    SELECT coalesce(array_agg(p.id) FILTER (WHERE p.state = 'running'), '{}'),
           coalesce(array_agg(p.id) FILTER (WHERE p.state <> 'running'), '{}')
    INTO running, idle
    FROM (SELECT j.id, j.state FROM larder.jobs j WHERE j.id = ANY(job_ids)
          ORDER BY j.id FOR UPDATE) p;
    UPDATE larder.jobs j SET cancel_at = clock_timestamp(), last_error = reason
    WHERE j.id = ANY(running) AND j.cancel_at IS NULL;
    IF FOUND THEN PERFORM pg_notify('larder_cancel', ''); END IF;
    PERFORM larder.end_jobs(
        idle, array_fill('cancelled'::larder.job_state, ARRAY[cardinality(idle)]),
        array_fill(reason, ARRAY[cardinality(idle)]),
        array_fill(NULL::jsonb, ARRAY[cardinality(idle)]))
    WHERE cardinality(idle) > 0;
    RETURN QUERY
        SELECT x, 'cancelling' FROM unnest(running) x
        UNION ALL SELECT x, 'cancelled' FROM unnest(idle) x;
END $$;

-- In rounds, each with a new snapshot: a fan-out that commits while the first round waits for its
-- row adds jobs that the round did not see.
CREATE OR REPLACE FUNCTION larder.cancel_run(
    run bigint, reason text DEFAULT 'the run was cancelled'
) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
    ended bigint := 0;
    ids bigint[];
BEGIN
    LOOP
        ids := ARRAY(SELECT j.id FROM larder.jobs j
                     WHERE j.run_id = run AND j.cancel_at IS NULL ORDER BY j.id);
        EXIT WHEN cardinality(ids) = 0;
        ended := ended + (SELECT count(*) FROM larder.cancel(ids, reason));
    END LOOP;
    RETURN ended;
END $$;

-- The members of a fan-out; what joins them is cancelled with them unless enough had succeeded.
CREATE OR REPLACE FUNCTION larder.cancel_group(
    group_id bigint, reason text DEFAULT 'the group was cancelled'
) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
    ended bigint;
BEGIN
    SELECT count(*) INTO ended FROM larder.cancel(ARRAY(
        SELECT j.id FROM larder.jobs j JOIN larder.groups g ON g.run_id = j.run_id
        WHERE g.id = cancel_group.group_id AND j.group_id = g.id AND j.cancel_at IS NULL
        ORDER BY j.id), reason);
    RETURN ended;
END $$;

-- Ends waiting jobs that can never start, and then those that waited for them.
CREATE OR REPLACE FUNCTION larder.cascade() RETURNS bigint LANGUAGE plpgsql
SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off AS $$
DECLARE
    ended bigint := 0;
    ids bigint[];
    reasons text[];
BEGIN
    LOOP
        SELECT array_agg(d.id), array_agg(d.reason) INTO ids, reasons
        FROM (SELECT j.id, format('job %s%s, which it waited for, did not succeed', j.doomed_by,
                                  (SELECT ' (' || a.name || ')' FROM larder.archive a
                                   WHERE a.id = j.doomed_by ORDER BY a.finished_at DESC LIMIT 1))
                     AS reason
              FROM larder.jobs j
              WHERE j.doomed_by IS NOT NULL
              ORDER BY j.id
              LIMIT 500
              FOR UPDATE OF j SKIP LOCKED) d;
        EXIT WHEN ids IS NULL;
        PERFORM larder.end_jobs(
            ids, array_fill('cancelled'::larder.job_state, ARRAY[cardinality(ids)]), reasons,
            array_fill(NULL::jsonb, ARRAY[cardinality(ids)]));
        ended := ended + cardinality(ids);
        -- The rest comes with the next call; a transaction must not grow without bound.
        EXIT WHEN ended >= 10000;
    END LOOP;
    RETURN ended;
END $$;
