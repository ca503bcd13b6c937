-- $1 run, $2 group, $3 queue; then arrays, one entry per job: $4 names, $5 kinds, $6 args,
-- $7 number of things waited for, $8 timeouts, $9 attempts allowed. Ids come back in order.
INSERT INTO larder.jobs
    (run_id, group_id, queue_id, name, kind, args, pending, state, timeout, max_attempts)
SELECT $1::bigint, $2::bigint, q.id, x.name, x.kind, x.args::jsonb, x.pending,
       CASE WHEN x.pending > 0 THEN 'waiting' ELSE 'ready' END::larder.job_state,
       x.timeout::interval, x.max_attempts
FROM unnest($4::text[], $5::text[], $6::text[], $7::int[], $8::text[], $9::int[])
    WITH ORDINALITY AS x (name, kind, args, pending, timeout, max_attempts, place)
JOIN larder.queues q ON q.name = $3
ORDER BY x.place
RETURNING id
