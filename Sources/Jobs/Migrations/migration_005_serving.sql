-- Items that readers leave out and no new list has. Redis holds a copy for the readers; the version
-- says whose copy is the newer one.
ALTER TABLE larder.feeds ADD hidden_version bigint NOT NULL DEFAULT 0;
CREATE TABLE larder.hidden_items (
    feed text NOT NULL REFERENCES larder.feeds (name),
    item text NOT NULL CHECK (item <> ''),
    hidden_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (feed, item)
);

-- Which shares of a feed's ids read which releases, and from when to when. The text is what stands
-- in Redis: a salt, and NAME=RELEASE:SHARE of each arm.
ALTER TABLE larder.feeds ADD split_version bigint NOT NULL DEFAULT 0;
CREATE TABLE larder.splits (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    feed text NOT NULL REFERENCES larder.feeds (name),
    split text NOT NULL,
    since timestamptz NOT NULL DEFAULT clock_timestamp(),
    until timestamptz
);
CREATE UNIQUE INDEX one_open_split_per_feed ON larder.splits (feed) WHERE until IS NULL;
