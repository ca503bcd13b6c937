-- The dataset that each feed was made of last: where its vocabulary goes on from, and what need not
-- be prepared again.
CREATE TABLE larder.datasets (
    feed text PRIMARY KEY,
    dataset text NOT NULL,
    -- SHA-256 of the settings and of the files it was made of; NULL where it was made of a query.
    made_of text,
    run_id bigint NOT NULL,
    created_at timestamptz NOT NULL DEFAULT clock_timestamp()
);
