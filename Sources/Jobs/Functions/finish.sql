-- Hands in outcomes (succeeded, later, retry, resource, fatal), one entry per job in each array.
-- `later` is no ending: the job runs again after the seconds that its result says.
-- The join on (id, lease, session, running) is the fence: a worker that lost the job, or has
-- finished it already, changes nothing and gets no row back.
CREATE OR REPLACE FUNCTION larder.finish(
    session uuid, ids bigint[], leases bigint[], outcomes text[], errors text[], results text[]
) RETURNS TABLE (id bigint, outcome text) LANGUAGE plpgsql
SET plan_cache_mode = force_generic_plan SET enable_seqscan = off
SET enable_hashjoin = off SET enable_mergejoin = off AS $$
#variable_conflict use_column
DECLARE
    held bigint[];
    endings text[];
    failures text[];
    outputs jsonb[];
    again boolean;
BEGIN
    IF 'succeeded' = ALL(outcomes) THEN
        -- The usual case needs no look at the rows before they go.
        RETURN QUERY SELECT x, 'succeeded' FROM unnest(larder.end_jobs(
            ids, outcomes::larder.job_state[], errors, results::jsonb[], session, leases)) x;
        RETURN;
    END IF;
    SELECT array_agg(f.id), array_agg(f.ending), array_agg(f.error), array_agg(f.result),
           bool_or(f.ending IN ('later', 'retry', 'resource'))
    INTO held, endings, failures, outputs, again
    FROM (SELECT j.id, x.error, x.result::jsonb AS result,
                 CASE WHEN x.outcome = 'succeeded' THEN 'succeeded'
                      WHEN j.cancel_at IS NOT NULL THEN 'cancelled'
                      WHEN x.outcome IN ('later', 'resource') THEN x.outcome
                      WHEN x.outcome = 'retry' AND j.attempt < j.max_attempts THEN 'retry'
                      ELSE 'failed' END AS ending
          FROM unnest(ids, leases, outcomes, errors, results)
              AS x (id, lease, outcome, error, result)
          -- The cast is for the planner: see larder.end_jobs.
          JOIN larder.jobs j ON j.id = x.id AND j.lease = x.lease
                            AND j.session_id = session AND j.state::text = 'running'
          ORDER BY j.id
          FOR UPDATE OF j) f;
    IF held IS NULL THEN RETURN; END IF;

    IF again THEN
        INSERT INTO larder.attempts (job_id, attempt, lease, session_id, started_at, outcome, error)
        SELECT j.id, j.attempt, j.lease, j.session_id, j.started_at, x.ending, x.failure
        FROM unnest(held, endings, failures) AS x (id, ending, failure)
        JOIN larder.jobs j ON j.id = x.id
        WHERE x.ending IN ('retry', 'resource');
        -- It did what it could, and starts afresh.
        UPDATE larder.jobs j
        SET state = 'scheduled', lease = NULL, session_id = NULL, last_error = NULL,
            attempt = 0, backoffs = 0, lost_leases = 0, quarantined = false,
            run_at = clock_timestamp() + interval '1 second' * (x.output->>'seconds')::float8
        FROM unnest(held, endings, outputs) AS x (id, ending, output)
        WHERE j.id = x.id AND x.ending = 'later';
        -- Full jitter (AWS Architecture Blog, 2015): 0 to 2^n s. A lack of resources is not the
        -- job's fault: it waits as long, but the attempt is refunded.
        UPDATE larder.jobs j
        SET state = 'scheduled', lease = NULL, session_id = NULL, last_error = x.failure,
            attempt = j.attempt - CASE x.ending WHEN 'resource' THEN 1 ELSE 0 END,
            backoffs = least(j.backoffs + 1, 32000),
            run_at = clock_timestamp() + random() * least(
                coalesce(k.max_backoff, interval '1 hour'),
                interval '1 second' * power(2, least(j.backoffs + 1, 20)))
        FROM unnest(held, endings, failures) AS x (id, ending, failure)
        CROSS JOIN LATERAL (SELECT kind FROM larder.jobs o WHERE o.id = x.id) o
        LEFT JOIN larder.kinds k ON k.name = o.kind
        WHERE j.id = x.id AND x.ending IN ('retry', 'resource');
    END IF;

    PERFORM larder.end_jobs(
        array_agg(x.id), array_agg(x.ending::larder.job_state), array_agg(x.failure),
        array_agg(x.output))
    FROM unnest(held, endings, failures, outputs) AS x (id, ending, failure, output)
    WHERE x.ending NOT IN ('later', 'retry', 'resource')
    HAVING count(*) > 0;

    RETURN QUERY SELECT x.id, x.ending FROM unnest(held, endings) AS x (id, ending);
END $$;
