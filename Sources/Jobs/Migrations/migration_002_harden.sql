-- Limits, graphs with policies, schedules, history, and upkeep that needs no leader.

ALTER TABLE larder.queues ADD max_running int CHECK (max_running > 0);
-- Version 1 drew a number for every job it enqueued, and there are only 32,767.
SELECT setval(pg_get_serial_sequence('larder.queues', 'id'), max(id)) FROM larder.queues;

-- What is written about a queue while it works, apart from what people set: when workers were
-- last notified, and when one last stopped everything else for a quarantined job.
CREATE TABLE larder.queue_gates (
    queue_id smallint PRIMARY KEY,
    woken_at timestamptz NOT NULL DEFAULT '-infinity',
    quarantine_at timestamptz NOT NULL DEFAULT '-infinity'
) WITH (fillfactor = 50);
INSERT INTO larder.queue_gates (queue_id) SELECT id FROM larder.queues;

-- What holds for all jobs of a kind unless they are enqueued with something else.
CREATE TABLE larder.kinds (
    name text PRIMARY KEY,
    max_attempts smallint CHECK (max_attempts > 0),
    timeout interval CHECK (timeout > '0'),
    -- A worker stops a job that has reported nothing for so long.
    stall_after interval CHECK (stall_after > '0'),
    max_backoff interval CHECK (max_backoff > '0')
);
INSERT INTO larder.kinds (name, timeout, stall_after) VALUES
    ('prepare', '1 hour', NULL), ('train', '6 hours', '30 minutes'), ('check', '1 hour', NULL),
    ('publish', '1 hour', NULL), ('collect', '1 hour', NULL);

ALTER TABLE larder.jobs
    ADD lost_leases smallint NOT NULL DEFAULT 0,
    ADD backoffs smallint NOT NULL DEFAULT 0,
    ADD quarantined boolean NOT NULL DEFAULT false,
    -- It waits for a group that another job of its run fans out, known or not yet.
    ADD joins_group boolean NOT NULL DEFAULT false,
    -- The job whose failure means that this waiting one can never start.
    ADD doomed_by bigint,
    ADD CONSTRAINT args_are_an_object CHECK (jsonb_typeof(args) = 'object') NOT VALID;
UPDATE larder.jobs SET joins_group = true WHERE kind = 'publish';
DROP INDEX larder.jobs_claim;
CREATE INDEX jobs_claim ON larder.jobs (queue_id, quarantined, priority, id) WHERE state = 'ready';
CREATE INDEX jobs_doomed ON larder.jobs (id) WHERE doomed_by IS NOT NULL;

ALTER TABLE larder.dependencies
    ADD on_fail text NOT NULL DEFAULT 'cancel' CHECK (on_fail IN ('cancel', 'ignore'));

-- When a join starts. `need` members must succeed (all, where null). An `early` group closes as
-- soon as so many have, and cancels the rest; one with a deadline closes then at the latest.
ALTER TABLE larder.groups ADD need int, ADD early boolean NOT NULL DEFAULT false,
    ADD deadline_at timestamptz;
UPDATE larder.groups SET need = total - max_failed WHERE max_failed > 0;
ALTER TABLE larder.groups DROP max_failed;
CREATE INDEX groups_join ON larder.groups (join_job);

ALTER TABLE larder.archive
    ADD priority smallint NOT NULL DEFAULT 100,
    ADD timeout interval NOT NULL DEFAULT '10 minutes',
    ADD dedup_key text,
    ADD joins_group boolean NOT NULL DEFAULT false;
UPDATE larder.archive SET joins_group = true WHERE kind = 'publish';
CREATE INDEX archive_finished ON larder.archive USING brin (finished_at) WITH (pages_per_range = 16);
-- Up to now everything was in the default partition. It becomes that of all days until today, so
-- that the default is empty: each new day is checked against all of its rows.
DO $$
DECLARE
    today date := (clock_timestamp() AT TIME ZONE 'UTC')::date;
BEGIN
    ALTER TABLE larder.archive DETACH PARTITION larder.archive_default;
    EXECUTE format('ALTER TABLE larder.archive_default RENAME TO archive_%s', to_char(today, 'YYYYMMDD'));
    EXECUTE format(
        'ALTER TABLE larder.archive ATTACH PARTITION larder.archive_%s FOR VALUES FROM (MINVALUE) TO (%L)',
        to_char(today, 'YYYYMMDD'), (today + 1)::text || ' 00:00+00');
END $$;
CREATE TABLE larder.archive_default PARTITION OF larder.archive DEFAULT;

-- One row for each attempt that did not succeed; the successful one is the archive's.
CREATE TABLE larder.attempts (
    job_id bigint NOT NULL,
    attempt smallint NOT NULL,
    lease bigint NOT NULL,
    session_id uuid NOT NULL,
    started_at timestamptz,
    ended_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    outcome text NOT NULL,
    error text
);
CREATE INDEX attempts_job ON larder.attempts (job_id);

ALTER TABLE larder.progress ADD checkpoint jsonb;

-- So that a client that repeats a request whose reply was lost gets the job of its first.
CREATE TABLE larder.idempotency (
    key text PRIMARY KEY,
    job_id bigint,
    expires_at timestamptz NOT NULL DEFAULT clock_timestamp() + interval '24 hours'
);
CREATE INDEX idempotency_expires ON larder.idempotency (expires_at);

CREATE TABLE larder.schedules (
    name text PRIMARY KEY CHECK (name ~ '^[a-z0-9][a-z0-9-]{0,62}$'),
    cron text NOT NULL,
    zone text NOT NULL DEFAULT 'UTC',
    misfire text NOT NULL DEFAULT 'coalesce' CHECK (misfire IN ('skip', 'coalesce', 'catch-up')),
    kind text NOT NULL CHECK (kind <> ''),
    args jsonb NOT NULL DEFAULT '{}' CHECK (jsonb_typeof(args) = 'object'),
    queue text NOT NULL DEFAULT 'default' CHECK (queue ~ '^[a-z0-9][a-z0-9_-]{0,62}$'),
    priority smallint NOT NULL DEFAULT 100,
    -- Null where a worker still has to compute it.
    next_at timestamptz,
    paused_at timestamptz,
    last_due_at timestamptz,
    last_job bigint,
    -- Why no worker can compute it.
    error text
);

-- Upkeep that any worker may do: whoever moves the time does it.
CREATE TABLE larder.chores (
    name text PRIMARY KEY,
    every interval NOT NULL,
    done_at timestamptz NOT NULL DEFAULT '-infinity'
) WITH (fillfactor = 50);
INSERT INTO larder.chores (name, every) VALUES
    ('promote', '0.9 s'), ('close', '0.9 s'), ('schedules', '0.9 s'), ('rescue', '4.5 s'),
    ('cascade', '4.5 s'), ('watch', '1 min'), ('clean', '1 h');

CREATE TABLE larder.retention (
    one boolean PRIMARY KEY DEFAULT true CHECK (one),
    archive interval NOT NULL DEFAULT '30 days' CHECK (archive >= '1 day'),
    metrics interval NOT NULL DEFAULT '90 days' CHECK (metrics >= '1 day')
);
INSERT INTO larder.retention DEFAULT VALUES;
CREATE INDEX metrics_at ON larder.metrics USING brin (at);

ALTER TABLE larder.sessions SET (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 200);
ALTER TABLE larder.progress SET (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 500);
ALTER TABLE larder.group_deltas SET (autovacuum_vacuum_scale_factor = 0,
    autovacuum_vacuum_threshold = 1000, autovacuum_vacuum_cost_delay = 0);
ALTER TABLE larder.queue_gates SET (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 200);
ALTER TABLE larder.chores SET (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 200);

-- Replaced by functions with other parameters.
DROP FUNCTION larder.enqueue(text, jsonb, text, int, timestamptz, int, interval, text);

-- Jobs that a failure had left without a future, but that no sweep had seen yet.
UPDATE larder.jobs j SET doomed_by = a.id
FROM larder.dependencies d JOIN larder.archive a ON a.id = d.parent_id
WHERE d.child_id = j.id AND j.state = 'waiting' AND a.state <> 'succeeded';
