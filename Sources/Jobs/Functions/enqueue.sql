-- One job, in the caller's own transaction. With a dedup_key that is alive already nothing is
-- added, and with an idempotency_key of the last 24 hours neither, whatever became of its job:
-- the id of that job comes back.
CREATE OR REPLACE FUNCTION larder.enqueue(
    kind text, args jsonb DEFAULT '{}', queue text DEFAULT 'default', priority int DEFAULT 100,
    run_at timestamptz DEFAULT NULL, max_attempts int DEFAULT NULL,
    timeout interval DEFAULT NULL, dedup_key text DEFAULT NULL, idempotency_key text DEFAULT NULL
) RETURNS bigint LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
    added bigint;
BEGIN
    IF jsonb_typeof(enqueue.args) IS DISTINCT FROM 'object' THEN
        RAISE EXCEPTION 'the args of a % job are %, but must be a JSON object', enqueue.kind,
            coalesce(jsonb_typeof(enqueue.args), 'null')
            USING ERRCODE = 'invalid_parameter_value', HINT = 'like ''{"a": 1}''';
    END IF;
    IF enqueue.idempotency_key IS NOT NULL THEN
        -- The row stays locked until this transaction ends, so that the second of two callers
        -- waits here and then finds the job of the first.
        INSERT INTO larder.idempotency AS i (key) VALUES (enqueue.idempotency_key)
        ON CONFLICT (key) DO UPDATE
        SET job_id = CASE WHEN i.expires_at > clock_timestamp() THEN i.job_id END,
            expires_at = CASE WHEN i.expires_at > clock_timestamp() THEN i.expires_at
                              ELSE excluded.expires_at END
        RETURNING i.job_id INTO added;
        IF added IS NOT NULL THEN RETURN added; END IF;
    END IF;
    LOOP
        -- Looked at without a lock: the worker that ends the live job must not wait for us.
        SELECT j.id INTO added FROM larder.jobs j WHERE j.dedup_key = enqueue.dedup_key;
        EXIT WHEN FOUND;
        INSERT INTO larder.jobs AS j
            (queue_id, kind, name, args, priority, state, run_at, max_attempts, timeout, dedup_key)
        SELECT larder.queue_id(enqueue.queue), enqueue.kind, enqueue.kind, enqueue.args,
               coalesce(enqueue.priority, 100),
               CASE WHEN enqueue.run_at > clock_timestamp() THEN 'scheduled' ELSE 'ready'
               END::larder.job_state,
               CASE WHEN enqueue.run_at > clock_timestamp() THEN enqueue.run_at END,
               coalesce(enqueue.max_attempts, k.max_attempts, 5),
               coalesce(enqueue.timeout, k.timeout, '10 minutes'), enqueue.dedup_key
        FROM (VALUES (1)) AS one LEFT JOIN larder.kinds k ON k.name = enqueue.kind
        ON CONFLICT (dedup_key) WHERE j.dedup_key IS NOT NULL DO NOTHING
        RETURNING j.id INTO added;
        -- Not added: another was faster, and the next look sees its job.
        EXIT WHEN FOUND;
    END LOOP;
    IF enqueue.idempotency_key IS NOT NULL THEN
        UPDATE larder.idempotency SET job_id = added WHERE key = enqueue.idempotency_key;
    END IF;
    IF enqueue.run_at IS NULL THEN PERFORM larder.wake(enqueue.queue); END IF;
    RETURN added;
END $$;
