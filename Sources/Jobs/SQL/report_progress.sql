-- Arrays: $1 job ids, $2 leases, $3 fractions, $4 messages, $5 checkpoints; where a checkpoint is
-- null the one before stays. A row of an older lease is replaced but for its checkpoint; one of a newer lease stays,
-- so a worker that lost the job cannot overwrite its heir's.
INSERT INTO larder.progress AS p (job_id, lease, fraction, message, checkpoint)
SELECT x.job_id, x.lease, coalesce(x.fraction, 0), coalesce(x.message, ''), x.checkpoint::jsonb
FROM unnest($1::bigint[], $2::bigint[], $3::real[], $4::text[], $5::text[])
    AS x (job_id, lease, fraction, message, checkpoint)
-- Of a job that is not this lease's any more nothing is wanted, least of all a row for ever.
JOIN larder.jobs j ON j.id = x.job_id AND j.lease = x.lease
ON CONFLICT (job_id) DO UPDATE
SET lease = excluded.lease, fraction = excluded.fraction, message = excluded.message,
    checkpoint = coalesce(excluded.checkpoint, p.checkpoint),
    updated_at = clock_timestamp()
WHERE p.lease <= excluded.lease
