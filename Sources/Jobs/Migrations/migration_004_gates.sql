-- Why a run goes live although a gate refuses it; NULL where gates decide.
ALTER TABLE larder.runs ADD forced text CHECK (forced <> '');

-- What was worked out once, under a hash of everything that decides it, so that it is not worked out
-- again: trainings and evaluations.
CREATE TABLE larder.finished_work (
    key text PRIMARY KEY,
    result jsonb NOT NULL,
    run_id bigint NOT NULL,
    created_at timestamptz NOT NULL DEFAULT clock_timestamp()
);

INSERT INTO larder.kinds (name, timeout) VALUES ('select', '1 hour'), ('gate', '10 minutes');

-- What the jobs of its run handed in, of those that say how its lists were made: the archive lets go
-- of them before readers let go of the release.
ALTER TABLE larder.releases ADD results jsonb;

-- From when to when readers were sent to a release; more than once where somebody rolled back.
CREATE TABLE larder.live_spans (
    feed text NOT NULL,
    number int NOT NULL,
    since timestamptz NOT NULL DEFAULT clock_timestamp(),
    until timestamptz,
    FOREIGN KEY (feed, number) REFERENCES larder.releases ON DELETE CASCADE
);
CREATE UNIQUE INDEX one_open_span_per_feed ON larder.live_spans (feed) WHERE until IS NULL;
INSERT INTO larder.live_spans (feed, number, since)
SELECT feed, number, live_at FROM larder.releases WHERE state = 'live';

INSERT INTO larder.kinds (name, timeout) VALUES ('hindsight', '1 hour');

-- Runs that somebody outside is told of: whether their end was announced (see larder.announce), and
-- the jobs that do the telling. Those stand outside of the run: it neither waits for them nor fails
-- with them.
ALTER TABLE larder.runs
    ADD queue text NOT NULL DEFAULT 'default',
    ADD announced_at timestamptz,
    ADD announcements bigint[] NOT NULL DEFAULT '{}';
CREATE INDEX runs_unannounced ON larder.runs (id)
    WHERE announced_at IS NULL AND (pipeline ? 'track' OR pipeline ? 'notify');
INSERT INTO larder.chores (name, every) VALUES ('announce', '0.9 s');
INSERT INTO larder.kinds (name, timeout, max_attempts, max_backoff) VALUES
    ('track', '10 minutes', 10, '1 minute'), ('notify', '2 minutes', 15, '10 minutes');
