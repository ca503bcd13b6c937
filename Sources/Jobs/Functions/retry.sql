-- Brings failed and cancelled jobs back from the archive, with their ids and all attempts to
-- spend again. With a job come those without whose success it cannot start, those that were
-- cancelled because of it, and the other members of a group that broke.
-- A plan for any ids compares each job with all of them; one for these ids looks them up.
CREATE OR REPLACE FUNCTION larder.retry(job_ids bigint[]) RETURNS TABLE (id bigint, state text)
LANGUAGE plpgsql SET plan_cache_mode = force_custom_plan AS $$
#variable_conflict use_column
DECLARE
    ids bigint[];
    more bigint[];
    feed_name text;
    clash record;
BEGIN
    ids := ARRAY(SELECT a.id FROM larder.archive a
                 WHERE a.id = ANY(job_ids) AND a.state IN ('failed', 'cancelled'));
    IF cardinality(ids) = 0 THEN RETURN; END IF;
    -- A feed has one run at a time, and this may be the start of one: see Graph.start.
    FOR feed_name IN SELECT DISTINCT r.feed FROM larder.archive a JOIN larder.runs r ON r.id = a.run_id
                WHERE a.id = ANY(ids) ORDER BY 1
    LOOP
        PERFORM FROM larder.feeds f WHERE f.name = feed_name FOR UPDATE;
        SELECT r.id INTO clash FROM larder.runs r
        WHERE r.feed = feed_name
          AND EXISTS (SELECT FROM larder.jobs j WHERE j.run_id = r.id)
          AND r.id NOT IN (SELECT a.run_id FROM larder.archive a
                           WHERE a.id = ANY(ids) AND a.run_id IS NOT NULL)
        LIMIT 1;
        IF FOUND THEN
            RAISE EXCEPTION 'feed "%" is being made by run %', feed_name, clash.id
                USING ERRCODE = 'object_in_use', HINT = 'retry when that run has ended';
        END IF;
    END LOOP;

    -- Another retry may have been first.
    ids := ARRAY(SELECT a.id FROM larder.archive a
                 WHERE a.id = ANY(ids) AND a.state IN ('failed', 'cancelled'));
    -- Nothing of these runs may end, and no group close, while their graph is read: groups before
    -- jobs, as in larder.close_group.
    PERFORM FROM larder.groups g
    WHERE g.run_id IN (SELECT a.run_id FROM larder.archive a WHERE a.id = ANY(ids))
    ORDER BY g.id FOR UPDATE;
    PERFORM FROM larder.jobs j
    WHERE j.run_id IN (SELECT a.run_id FROM larder.archive a WHERE a.id = ANY(ids))
    ORDER BY j.id FOR UPDATE;

    LOOP
        more := ARRAY(
            SELECT a.id FROM larder.archive a
            WHERE a.state IN ('failed', 'cancelled') AND NOT a.id = ANY(ids)
              AND a.id IN (
                  SELECT d.parent_id FROM larder.dependencies d
                  WHERE d.child_id = ANY(ids) AND d.on_fail = 'cancel'
                  UNION ALL
                  SELECT d.child_id FROM larder.dependencies d
                  JOIN larder.archive c ON c.id = d.child_id AND c.state = 'cancelled'
                  WHERE d.parent_id = ANY(ids)
                  UNION ALL
                  SELECT m.id FROM larder.groups g
                  JOIN larder.archive m ON m.run_id = g.run_id AND m.group_id = g.id
                  WHERE g.state = 'broken'
                    AND (g.join_job = ANY(ids) OR EXISTS (
                        SELECT FROM larder.archive o
                        WHERE o.id = ANY(ids) AND o.group_id = g.id))
                  UNION ALL
                  SELECT g.join_job FROM larder.archive m
                  JOIN larder.groups g ON g.id = m.group_id AND g.state = 'broken'
                  WHERE m.id = ANY(ids)));
        EXIT WHEN cardinality(more) = 0;
        ids := ids || more;
    END LOOP;

    IF EXISTS (SELECT FROM larder.groups g JOIN larder.jobs j
                   ON j.run_id = g.run_id AND j.group_id = g.id
               WHERE g.state = 'broken' AND j.state = 'running'
                 AND g.join_job = ANY(ids)) THEN
        RAISE EXCEPTION 'jobs of the same group are still being stopped'
            USING ERRCODE = 'object_in_use', HINT = 'try again in a moment';
    END IF;
    SELECT a.id, a.dedup_key, j.id AS other INTO clash
    FROM larder.archive a JOIN larder.jobs j ON j.dedup_key = a.dedup_key
    WHERE a.id = ANY(ids) LIMIT 1;
    IF FOUND THEN
        RAISE EXCEPTION 'job % cannot be retried: job % with its dedup key "%" is alive',
            clash.id, clash.other, clash.dedup_key USING ERRCODE = 'object_in_use';
    END IF;

    -- Their end is to be told again, by other jobs.
    UPDATE larder.runs r SET announced_at = NULL, announcements = '{}'
    WHERE r.id IN (SELECT a.run_id FROM larder.archive a WHERE a.id = ANY(ids));

    -- Reopened with what its other members have done already, and without what those counted that
    -- ended after it had broken.
    DELETE FROM larder.group_deltas d USING larder.groups g
    WHERE d.group_id = g.id AND g.state = 'broken' AND g.join_job = ANY(ids);
    WITH reopened AS (
        UPDATE larder.groups g
        SET state = 'open', done = NULL, failed = NULL, closed_at = NULL, deadline_at = NULL
        WHERE g.state = 'broken' AND g.join_job = ANY(ids) RETURNING g.id, g.run_id)
    INSERT INTO larder.group_deltas
    SELECT g.id, count(*), 0 FROM reopened g
    JOIN larder.archive m ON m.run_id = g.run_id AND m.group_id = g.id
    WHERE m.state = 'succeeded' GROUP BY g.id;

    -- A member of a group that is still open is counted anew when it ends.
    INSERT INTO larder.group_deltas
    SELECT g.id, -count(*), -count(*)
    FROM larder.archive m JOIN larder.groups g ON g.id = m.group_id AND g.state = 'open'
    WHERE m.id = ANY(ids) AND NOT g.join_job = ANY(ids)
    GROUP BY g.id;

    -- Those that still wait for one of these: they have a future again, and where the failure was
    -- ignored they wait once more.
    UPDATE larder.jobs j
    SET pending = j.pending + (
            SELECT count(*) FROM larder.dependencies d
            WHERE d.child_id = j.id AND d.parent_id = ANY(ids) AND d.on_fail = 'ignore')::int,
        doomed_by = (
            SELECT min(a.id) FROM larder.dependencies d
            JOIN larder.archive a ON a.id = d.parent_id AND a.state <> 'succeeded'
            WHERE d.child_id = j.id AND d.on_fail = 'cancel' AND NOT a.id = ANY(ids))
    WHERE j.state = 'waiting'
      AND EXISTS (SELECT FROM larder.dependencies d
                  WHERE d.child_id = j.id AND d.parent_id = ANY(ids));

    RETURN QUERY
    WITH back AS (
        DELETE FROM larder.archive a WHERE a.id = ANY(ids) RETURNING a.*)
    INSERT INTO larder.jobs AS j
        (id, run_id, group_id, created_at, queue_id, priority, max_attempts, timeout, kind, name,
         args, dedup_key, joins_group, last_error, pending, state)
    OVERRIDING SYSTEM VALUE
    SELECT b.id, b.run_id, b.group_id, b.created_at, b.queue_id, b.priority, b.max_attempts,
           b.timeout, b.kind, b.name, b.args, b.dedup_key, b.joins_group, b.error, w.pending,
           CASE WHEN w.pending > 0 THEN 'waiting' ELSE 'ready' END::larder.job_state
    FROM back b
    CROSS JOIN LATERAL (
        SELECT (SELECT count(*) FROM larder.dependencies d
                WHERE d.child_id = b.id
                  AND (d.parent_id = ANY(ids)
                       OR EXISTS (SELECT FROM larder.jobs p WHERE p.id = d.parent_id)))::int
             + (b.joins_group AND NOT EXISTS (
                    SELECT FROM larder.groups g
                    WHERE g.join_job = b.id AND g.state = 'closed'))::int AS pending) w
    ORDER BY b.id
    RETURNING j.id, j.state::text;
    PERFORM larder.wake(q.name) FROM larder.queues q
    WHERE q.id IN (SELECT j.queue_id FROM larder.jobs j WHERE j.id = ANY(ids));
END $$;

-- Everything of a run that did not succeed, but for what its group could do without.
CREATE OR REPLACE FUNCTION larder.retry_run(run bigint) RETURNS bigint LANGUAGE sql AS $$
    SELECT count(*) FROM larder.retry(ARRAY(
        SELECT a.id FROM larder.archive a
        WHERE a.run_id = run AND a.state IN ('failed', 'cancelled')
          AND NOT EXISTS (SELECT FROM larder.groups g
                          JOIN larder.archive j ON j.id = g.join_job AND j.state = 'succeeded'
                          WHERE g.id = a.group_id AND g.state = 'closed')))
$$;
