-- $1 feed, $2 the release that goes live instead.
UPDATE larder.live_spans SET until = clock_timestamp()
WHERE feed = $1 AND until IS NULL AND number <> $2::int
