-- $1 feed, $2 the release that goes live instead.
UPDATE larder.releases SET state = 'retired'
WHERE feed = $1 AND state = 'live' AND number <> $2::int
