-- $1 session, $2 leases. A draining worker gives jobs back; the attempt is refunded because the
-- job did nothing wrong. Fenced like finish. One that is to be cancelled is not given back: its
-- worker finishes it.
UPDATE larder.jobs
SET state = 'ready', lease = NULL, session_id = NULL, attempt = attempt - 1
WHERE state = 'running' AND session_id = $1::uuid AND lease = ANY($2::bigint[])
  AND cancel_at IS NULL
RETURNING id
