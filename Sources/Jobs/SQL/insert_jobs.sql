-- $1 run, $2 group, $3 queue; then arrays, one entry per job: $4 names, $5 kinds, $6 args,
-- $7 number of things waited for, $8 whether one of them is a group, $9 timeouts and $10 attempts
-- allowed, where they are not those of the kind. Ids come back in order.
INSERT INTO larder.jobs
    (run_id, group_id, queue_id, name, kind, args, pending, joins_group, state, timeout,
     max_attempts)
SELECT $1::bigint, $2::bigint, q.id, x.name, x.kind, x.args::jsonb, x.pending, x.joins_group,
       CASE WHEN x.pending > 0 THEN 'waiting' ELSE 'ready' END::larder.job_state,
       coalesce(x.timeout::interval, k.timeout, '10 minutes'),
       coalesce(x.max_attempts, k.max_attempts, 5)
FROM unnest($4::text[], $5::text[], $6::text[], $7::int[], $8::bool[], $9::text[], $10::int[])
    WITH ORDINALITY AS x (name, kind, args, pending, joins_group, timeout, max_attempts, place)
CROSS JOIN (SELECT larder.queue_id($3) AS id) q
LEFT JOIN larder.kinds k ON k.name = x.kind
ORDER BY x.place
RETURNING id
