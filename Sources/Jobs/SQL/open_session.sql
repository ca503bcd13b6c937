-- $1 id, $2 host, $3 pid, $4 slots, $5 time to live.
INSERT INTO larder.sessions (id, host, pid, slots, expires_at)
VALUES ($1::uuid, $2, $3::int, $4::int, clock_timestamp() + $5::interval)
