-- Schedules whose time has come, or has not been computed yet; times as seconds since 1970.
SELECT name, cron, zone, misfire, extract(epoch FROM next_at)::double precision AS due,
       extract(epoch FROM clock_timestamp())::double precision AS now
FROM larder.schedules
WHERE paused_at IS NULL AND error IS NULL AND (next_at IS NULL OR next_at <= clock_timestamp())
ORDER BY next_at NULLS FIRST
LIMIT 50
