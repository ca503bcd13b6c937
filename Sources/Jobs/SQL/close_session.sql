-- $1 id. Its jobs were released before; rows of sessions that died go too, a day later.
DELETE FROM larder.sessions
WHERE id = $1::uuid OR expires_at < clock_timestamp() - interval '1 day'
