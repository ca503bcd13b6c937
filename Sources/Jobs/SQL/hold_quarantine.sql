-- $1 queue. Keeps other workers from stopping too while this one still waits to be empty.
UPDATE larder.queue_gates g SET quarantine_at = clock_timestamp()
FROM larder.queues q WHERE q.id = g.queue_id AND q.name = $1
