-- What the readers of a feed follow beside its pointer: items that are hidden, and a split. Redis
-- holds a copy; the version says whose copy is the newer one. It is the time of the last change in
-- microseconds, so that what is changed after a restore from a backup is newer than what was lost.
ALTER TABLE larder.feeds ADD rules_version bigint NOT NULL DEFAULT 0;

CREATE TABLE larder.hidden_items (
    feed text NOT NULL REFERENCES larder.feeds (name),
    item text NOT NULL CHECK (item <> ''),
    hidden_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (feed, item)
);

-- Which shares of a feed's ids read which releases, and from when to when. The text is what stands
-- in Redis: a salt, and NAME=RELEASE:SHARE of each arm.
CREATE TABLE larder.splits (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    feed text NOT NULL REFERENCES larder.feeds (name),
    split text NOT NULL,
    since timestamptz NOT NULL DEFAULT clock_timestamp(),
    until timestamptz
);
CREATE UNIQUE INDEX one_open_split_per_feed ON larder.splits (feed) WHERE until IS NULL;

-- How the lists of a release differ from those before it: the share of lists that changed, and how many
-- items of a list were not in it before, on average.
ALTER TABLE larder.releases ADD changed_lists double precision, ADD new_items double precision;
