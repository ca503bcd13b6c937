-- Arrays: $1 job ids, $2 leases, $3 fractions, $4 messages. A row of an older lease is replaced;
-- one of a newer lease stays, so a worker that lost the job cannot overwrite its heir's bar.
INSERT INTO larder.progress AS p (job_id, lease, fraction, message)
SELECT x.job_id, x.lease, x.fraction, x.message
FROM unnest($1::bigint[], $2::bigint[], $3::real[], $4::text[])
    AS x (job_id, lease, fraction, message)
ON CONFLICT (job_id) DO UPDATE
SET lease = excluded.lease, fraction = excluded.fraction, message = excluded.message,
    updated_at = clock_timestamp()
WHERE p.lease <= excluded.lease
