-- The queue. Only live jobs stand in larder.jobs; a job that ends moves to larder.archive, so
-- that the claim's indexes stay as small as the work that is left. No GIN, no triggers, no
-- foreign keys on the hot path. Every time is the database's clock.

CREATE TYPE larder.job_state AS ENUM
    ('waiting', 'scheduled', 'ready', 'running', 'succeeded', 'failed', 'cancelled');

-- One number per claim, never reused: the fencing token of whoever holds the job.
CREATE SEQUENCE larder.leases;

CREATE TABLE larder.queues (
    id smallint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name text NOT NULL UNIQUE CHECK (name ~ '^[a-z0-9][a-z0-9_-]{0,62}$'),
    paused_at timestamptz
);
INSERT INTO larder.queues (name) VALUES ('default');

-- One row per boot of a worker process; the id is never reused.
CREATE TABLE larder.sessions (
    id uuid PRIMARY KEY,
    host text NOT NULL,
    pid int NOT NULL,
    slots int NOT NULL,
    started_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    expires_at timestamptz NOT NULL,
    draining boolean NOT NULL DEFAULT false
) WITH (fillfactor = 50);

CREATE TABLE larder.feeds (
    name text PRIMARY KEY CHECK (name ~ '^[a-z0-9][a-z0-9-]{0,62}$'),
    last_release int NOT NULL DEFAULT 0
);

-- One execution of a pipeline. Its state is not stored: larder.run_states derives it from its
-- jobs, so it can never disagree with them.
CREATE TABLE larder.runs (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    feed text NOT NULL,
    pipeline jsonb NOT NULL,
    -- The job that started it, so that the job's second attempt finds the run of its first.
    started_by bigint UNIQUE,
    created_at timestamptz NOT NULL DEFAULT clock_timestamp()
);
CREATE INDEX runs_feed ON larder.runs (feed, id);

-- A fan-out with one join. Members are counted by appending to group_deltas: one counter row
-- under a pinned xmin made a finish five to ten times slower.
CREATE TABLE larder.groups (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    run_id bigint,
    total int NOT NULL,
    max_failed int NOT NULL DEFAULT 0,
    join_job bigint NOT NULL,
    state text NOT NULL DEFAULT 'open' CHECK (state IN ('open', 'closed', 'broken')),
    done int,
    failed int,
    closed_at timestamptz
);
CREATE INDEX groups_open ON larder.groups (id) WHERE state = 'open';

CREATE TABLE larder.group_deltas (group_id bigint NOT NULL, done int NOT NULL, failed int NOT NULL);
CREATE INDEX group_deltas_group ON larder.group_deltas (group_id);

CREATE TABLE larder.jobs (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    run_id bigint,
    group_id bigint,
    lease bigint,
    run_at timestamptz,
    started_at timestamptz,
    deadline_at timestamptz,
    cancel_at timestamptz,
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    session_id uuid,
    timeout interval NOT NULL DEFAULT '10 minutes',
    pending int NOT NULL DEFAULT 0,
    queue_id smallint NOT NULL,
    priority smallint NOT NULL DEFAULT 100,
    attempt smallint NOT NULL DEFAULT 0,
    max_attempts smallint NOT NULL DEFAULT 5 CHECK (max_attempts > 0),
    state larder.job_state NOT NULL DEFAULT 'ready',
    kind text NOT NULL CHECK (kind <> ''),
    name text NOT NULL,
    args jsonb NOT NULL DEFAULT '{}',
    dedup_key text,
    last_error text,
    CONSTRAINT ended_jobs_are_archived CHECK (state IN ('waiting', 'scheduled', 'ready', 'running')),
    CONSTRAINT running_jobs_have_an_owner
        CHECK ((state = 'running') = (lease IS NOT NULL AND session_id IS NOT NULL)),
    CONSTRAINT scheduled_jobs_have_a_time CHECK (state <> 'scheduled' OR run_at IS NOT NULL)
) WITH (fillfactor = 80, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 2000,
        autovacuum_vacuum_cost_delay = 0);
CREATE INDEX jobs_claim ON larder.jobs (queue_id, priority, id) WHERE state = 'ready';
CREATE INDEX jobs_due ON larder.jobs (run_at) WHERE state = 'scheduled';
CREATE INDEX jobs_running ON larder.jobs (session_id) WHERE state = 'running';
CREATE INDEX jobs_waiting ON larder.jobs (id) WHERE state = 'waiting';
CREATE INDEX jobs_run ON larder.jobs (run_id) WHERE run_id IS NOT NULL;
-- Over the whole live table, so that no transition, a retry least of all, can collide.
CREATE UNIQUE INDEX jobs_dedup ON larder.jobs (dedup_key) WHERE dedup_key IS NOT NULL;

CREATE TABLE larder.dependencies (
    parent_id bigint NOT NULL,
    child_id bigint NOT NULL,
    PRIMARY KEY (parent_id, child_id)
);
CREATE INDEX dependencies_child ON larder.dependencies (child_id);

CREATE TABLE larder.archive (
    id bigint NOT NULL,
    run_id bigint,
    group_id bigint,
    created_at timestamptz NOT NULL,
    started_at timestamptz,
    finished_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    session_id uuid,
    queue_id smallint NOT NULL,
    attempt smallint NOT NULL,
    max_attempts smallint NOT NULL,
    state larder.job_state NOT NULL CHECK (state IN ('succeeded', 'failed', 'cancelled')),
    kind text NOT NULL,
    name text NOT NULL,
    args jsonb NOT NULL,
    result jsonb,
    error text
) PARTITION BY RANGE (finished_at);
CREATE TABLE larder.archive_default PARTITION OF larder.archive DEFAULT;
CREATE INDEX archive_id ON larder.archive (id);
CREATE INDEX archive_run ON larder.archive (run_id) WHERE run_id IS NOT NULL;

CREATE TABLE larder.progress (
    job_id bigint PRIMARY KEY,
    lease bigint NOT NULL,
    fraction real NOT NULL,
    message text NOT NULL,
    updated_at timestamptz NOT NULL DEFAULT clock_timestamp()
) WITH (fillfactor = 50);

CREATE TABLE larder.metrics (
    run_id bigint,
    job_id bigint NOT NULL,
    name text NOT NULL,
    step bigint NOT NULL,
    value double precision NOT NULL,
    at timestamptz NOT NULL DEFAULT clock_timestamp()
);
CREATE INDEX metrics_run ON larder.metrics (run_id, name, step);

-- The ledger of releases: one generation of a feed's lists in Redis.
CREATE TABLE larder.releases (
    feed text NOT NULL REFERENCES larder.feeds (name),
    number int NOT NULL,
    run_id bigint NOT NULL UNIQUE,
    state text NOT NULL DEFAULT 'writing'
        CHECK (state IN ('writing', 'live', 'retired', 'collected')),
    lists_for text NOT NULL CHECK (lists_for IN ('users', 'items')),
    format text NOT NULL,
    k int NOT NULL,
    lists bigint,
    bytes bigint,
    dataset text NOT NULL,
    model text NOT NULL,
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    live_at timestamptz,
    collected_at timestamptz,
    PRIMARY KEY (feed, number)
);
CREATE UNIQUE INDEX one_live_release_per_feed ON larder.releases (feed) WHERE state = 'live';

CREATE VIEW larder.all_jobs AS
SELECT j.id, j.run_id, j.group_id, q.name AS queue, j.kind, j.name, j.state, j.attempt,
       j.max_attempts, j.args, NULL::jsonb AS result, j.last_error AS error, j.created_at,
       j.started_at, NULL::timestamptz AS finished_at, j.session_id,
       p.fraction, p.message
FROM larder.jobs j
JOIN larder.queues q ON q.id = j.queue_id
LEFT JOIN larder.progress p ON p.job_id = j.id AND p.lease = j.lease
UNION ALL
SELECT a.id, a.run_id, a.group_id, q.name, a.kind, a.name, a.state, a.attempt, a.max_attempts,
       a.args, a.result, a.error, a.created_at, a.started_at, a.finished_at, a.session_id,
       NULL, NULL
FROM larder.archive a
JOIN larder.queues q ON q.id = a.queue_id;

CREATE VIEW larder.run_states AS
SELECT r.id, r.feed, r.pipeline, r.created_at,
       CASE WHEN live.any THEN 'running'
            WHEN ended.failed > 0 THEN 'failed'
            WHEN ended.cancelled > 0 THEN 'cancelled'
            ELSE 'succeeded' END AS state,
       CASE WHEN NOT live.any THEN ended.finished_at END AS finished_at
FROM larder.runs r
CROSS JOIN LATERAL (
    SELECT EXISTS (SELECT FROM larder.jobs j WHERE j.run_id = r.id) AS any) live
CROSS JOIN LATERAL (
    SELECT count(*) FILTER (WHERE a.state = 'failed') AS failed,
           count(*) FILTER (WHERE a.state = 'cancelled') AS cancelled,
           max(a.finished_at) AS finished_at
    FROM larder.archive a WHERE a.run_id = r.id) ended;

-- For KEDA's postgresql scaler, strategy `accurate`: what a worker that starts now would find to
-- do; never NULL, bounded work. Beside ready jobs these are due ones, jobs of dead workers, and
-- joins whose group is full: with no worker up, nobody else would notice them.
CREATE FUNCTION larder.backlog(queue text) RETURNS bigint LANGUAGE sql STABLE AS $$
    SELECT count(*) FROM (
        SELECT FROM larder.jobs j JOIN larder.queues q ON q.id = j.queue_id
        WHERE q.name = backlog.queue AND q.paused_at IS NULL
          AND (j.state = 'ready'
               OR j.state = 'scheduled' AND j.run_at <= now()
               OR j.state = 'running'
                  AND (j.deadline_at < now()
                       OR NOT EXISTS (SELECT FROM larder.sessions s
                                      WHERE s.id = j.session_id AND s.expires_at > now()))
               OR j.state = 'waiting'
                  AND EXISTS (SELECT FROM larder.groups g
                              WHERE g.state = 'open' AND g.join_job = j.id
                                AND g.total <= (SELECT coalesce(sum(d.done), 0)
                                                FROM larder.group_deltas d
                                                WHERE d.group_id = g.id)))
        LIMIT 10000) capped
$$;

-- One job, in the caller's own transaction. With a dedup_key that is alive already, nothing is
-- added and the id of the live job comes back.
CREATE FUNCTION larder.enqueue(
    kind text, args jsonb DEFAULT '{}', queue text DEFAULT 'default', priority int DEFAULT 100,
    run_at timestamptz DEFAULT NULL, max_attempts int DEFAULT 5,
    timeout interval DEFAULT '10 minutes', dedup_key text DEFAULT NULL
) RETURNS bigint LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
    added bigint;
BEGIN
    INSERT INTO larder.queues (name) VALUES (enqueue.queue) ON CONFLICT (name) DO NOTHING;
    INSERT INTO larder.jobs AS j
        (queue_id, kind, name, args, priority, state, run_at, max_attempts, timeout, dedup_key)
    SELECT q.id, enqueue.kind, enqueue.kind, enqueue.args, enqueue.priority,
           CASE WHEN enqueue.run_at > clock_timestamp() THEN 'scheduled' ELSE 'ready'
           END::larder.job_state,
           enqueue.run_at, enqueue.max_attempts, enqueue.timeout, enqueue.dedup_key
    FROM larder.queues q WHERE q.name = enqueue.queue
    -- A no-op update: the only way to lock the live row and get its id back.
    ON CONFLICT (dedup_key) WHERE j.dedup_key IS NOT NULL DO UPDATE SET kind = j.kind
    RETURNING j.id INTO added;
    RETURN added;
END $$;

-- Jobs that have not started end at once; a running one is told by its worker's next heartbeat.
-- Returns what happened to each. Jobs that wait for a cancelled one follow by larder's sweep.
CREATE FUNCTION larder.cancel(job_ids bigint[], reason text DEFAULT 'cancelled')
RETURNS TABLE (id bigint, outcome text) LANGUAGE sql AS $$
    WITH picked AS MATERIALIZED (
        SELECT j.id, j.state FROM larder.jobs j WHERE j.id = ANY(job_ids)
        ORDER BY j.id FOR UPDATE),
    asked AS (
        UPDATE larder.jobs j SET cancel_at = clock_timestamp(), last_error = reason
        FROM picked p WHERE j.id = p.id AND p.state = 'running' AND j.cancel_at IS NULL),
    gone AS (
        DELETE FROM larder.jobs j USING picked p
        WHERE j.id = p.id AND p.state <> 'running' RETURNING j.*),
    archived AS (
        INSERT INTO larder.archive (id, run_id, group_id, created_at, started_at, queue_id,
                                    attempt, max_attempts, state, kind, name, args, error)
        SELECT g.id, g.run_id, g.group_id, g.created_at, g.started_at, g.queue_id, g.attempt,
               g.max_attempts, 'cancelled', g.kind, g.name, g.args, reason
        FROM gone g),
    counted AS (
        INSERT INTO larder.group_deltas
        SELECT g.group_id, count(*), count(*) FROM gone g WHERE g.group_id IS NOT NULL
        GROUP BY g.group_id)
    SELECT p.id, CASE p.state WHEN 'running' THEN 'cancelling' ELSE 'cancelled' END FROM picked p
$$;

-- In rounds, each with a new snapshot: a fan-out that commits while the first round waits for its
-- row adds jobs that the round did not see.
CREATE FUNCTION larder.cancel_run(run bigint, reason text DEFAULT 'the run was cancelled')
RETURNS bigint LANGUAGE plpgsql AS $$
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

-- Closes a group once. Called after the finisher's commit, and by the sweep for a finisher that
-- died in between. Summing inside the finishers' own transactions would lose the last wake-up:
-- under READ COMMITTED two of them cannot see each other's deltas.
CREATE FUNCTION larder.close_group(group_id bigint) RETURNS boolean LANGUAGE plpgsql AS $$
DECLARE
    g larder.groups;
    all_done bigint;
    all_failed bigint;
BEGIN
    -- A look without a lock: most calls end here.
    SELECT coalesce(sum(d.done), 0) INTO all_done
    FROM larder.group_deltas d WHERE d.group_id = close_group.group_id;
    PERFORM FROM larder.groups WHERE id = close_group.group_id AND state = 'open'
        AND total <= all_done;
    IF NOT FOUND THEN RETURN false; END IF;

    -- The lock admits one closer; the sum below has a snapshot taken after it.
    SELECT * INTO g FROM larder.groups WHERE id = close_group.group_id AND state = 'open'
    FOR UPDATE;
    IF NOT FOUND THEN RETURN false; END IF;
    SELECT coalesce(sum(d.done), 0), coalesce(sum(d.failed), 0) INTO all_done, all_failed
    FROM larder.group_deltas d WHERE d.group_id = close_group.group_id;
    IF all_done < g.total THEN RETURN false; END IF;

    UPDATE larder.groups
    SET state = CASE WHEN all_failed <= g.max_failed THEN 'closed' ELSE 'broken' END,
        done = all_done, failed = all_failed, closed_at = clock_timestamp()
    WHERE id = g.id;
    IF all_failed <= g.max_failed THEN
        UPDATE larder.jobs
        SET pending = pending - 1,
            state = CASE WHEN pending <= 1 THEN 'ready' ELSE 'waiting' END::larder.job_state
        WHERE id = g.join_job AND state = 'waiting';
    ELSE
        PERFORM larder.cancel(ARRAY[g.join_job], format(
            '%s of the %s jobs it waited for did not succeed', all_failed, g.total));
    END IF;
    DELETE FROM larder.group_deltas d WHERE d.group_id = close_group.group_id;
    RETURN true;
END $$;
