-- An array of objects whose keys are the parameters of larder.enqueue; their ids, in order. All
-- of them are added or none.
CREATE OR REPLACE FUNCTION larder.enqueue_many(jobs jsonb) RETURNS SETOF bigint
LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
    wrong text;
    item record;
    ids bigint[];
BEGIN
    IF jsonb_typeof(enqueue_many.jobs) IS DISTINCT FROM 'array' THEN
        RAISE EXCEPTION 'larder.enqueue_many takes a JSON array of jobs'
            USING ERRCODE = 'invalid_parameter_value', HINT = 'like ''[{"kind": "run", "args": {}}]''';
    END IF;
    -- A misspelt key must not be dropped in silence.
    SELECT format('job %s has the unknown key "%s"', e.place, k.key) INTO wrong
    FROM jsonb_array_elements(enqueue_many.jobs) WITH ORDINALITY AS e (job, place),
         jsonb_object_keys(e.job) AS k (key)
    WHERE k.key NOT IN ('kind', 'args', 'queue', 'priority', 'run_at', 'max_attempts', 'timeout',
                        'dedup_key', 'idempotency_key')
    LIMIT 1;
    IF wrong IS NULL THEN
        SELECT format('job %s has no kind, or args that are not an object', e.place) INTO wrong
        FROM jsonb_array_elements(enqueue_many.jobs) WITH ORDINALITY AS e (job, place)
        WHERE coalesce(e.job->>'kind', '') = ''
           OR coalesce(jsonb_typeof(e.job->'args'), 'object') <> 'object'
        LIMIT 1;
    END IF;
    IF wrong IS NOT NULL THEN
        RAISE EXCEPTION '%', wrong USING ERRCODE = 'invalid_parameter_value';
    END IF;

    IF jsonb_path_exists(enqueue_many.jobs, '$[*] ? (exists (@.dedup_key) || exists (@.idempotency_key))')
    THEN
        -- In the order of their keys, so that two callers with the same ones cannot deadlock.
        FOR item IN
            SELECT e.place, j.*
            FROM jsonb_array_elements(enqueue_many.jobs) WITH ORDINALITY AS e (job, place),
                 jsonb_to_record(e.job) AS j (kind text, args jsonb, queue text, priority int,
                     run_at timestamptz, max_attempts int, timeout interval, dedup_key text,
                     idempotency_key text)
            ORDER BY j.idempotency_key, j.dedup_key, e.place
        LOOP
            ids[item.place] := larder.enqueue(
                item.kind, coalesce(item.args, '{}'), coalesce(item.queue, 'default'),
                item.priority, item.run_at, item.max_attempts, item.timeout, item.dedup_key,
                item.idempotency_key);
        END LOOP;
        RETURN QUERY SELECT unnest(ids);
        RETURN;
    END IF;

    RETURN QUERY
    WITH parsed AS MATERIALIZED (
        SELECT e.place, j.kind, coalesce(j.args, '{}') AS args,
               coalesce(j.queue, 'default') AS queue, j.priority, j.run_at,
               coalesce(j.run_at > clock_timestamp(), false) AS later, j.max_attempts, j.timeout
        FROM jsonb_array_elements(enqueue_many.jobs) WITH ORDINALITY AS e (job, place),
             jsonb_to_record(e.job) AS j (kind text, args jsonb, queue text, priority int,
                 run_at timestamptz, max_attempts int, timeout interval)),
    queues AS MATERIALIZED (
        SELECT n.queue, larder.queue_id(n.queue) AS id
        FROM (SELECT DISTINCT p.queue FROM parsed p ORDER BY p.queue) n)
    INSERT INTO larder.jobs
        (queue_id, kind, name, args, priority, state, run_at, max_attempts, timeout)
    SELECT q.id, p.kind, p.kind, p.args, coalesce(p.priority, 100),
           CASE WHEN p.later THEN 'scheduled' ELSE 'ready' END::larder.job_state,
           CASE WHEN p.later THEN p.run_at END,
           coalesce(p.max_attempts, k.max_attempts, 5), coalesce(p.timeout, k.timeout, '10 minutes')
    FROM parsed p JOIN queues q ON q.queue = p.queue LEFT JOIN larder.kinds k ON k.name = p.kind
    ORDER BY p.place
    RETURNING id;
    PERFORM larder.wake(n.queue)
    FROM (SELECT DISTINCT coalesce(e.job->>'queue', 'default') AS queue
          FROM jsonb_array_elements(enqueue_many.jobs) AS e (job)) n;
END $$;
