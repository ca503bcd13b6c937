-- Items that readers leave out and no new list has. Redis holds a copy for the readers; the version
-- says whose copy is the newer one.
ALTER TABLE larder.feeds ADD hidden_version bigint NOT NULL DEFAULT 0;
CREATE TABLE larder.hidden_items (
    feed text NOT NULL REFERENCES larder.feeds (name),
    item text NOT NULL CHECK (item <> ''),
    hidden_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (feed, item)
);
