-- $1 feed, $2 number. A publisher that is run again finds its own span open.
INSERT INTO larder.live_spans (feed, number)
SELECT r.feed, r.number FROM larder.releases r
WHERE r.feed = $1 AND r.number = $2::int AND r.state = 'live'
  AND NOT EXISTS (SELECT FROM larder.live_spans s WHERE s.feed = $1 AND s.until IS NULL)
