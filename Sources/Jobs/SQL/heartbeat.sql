-- $1 session, $2 time to live, $3 leases held, $4 a time, in microseconds by this clock, before which
-- the worker knows the outcome of every claim that it asked for.
-- One round trip: renew, take back claims that the worker never heard of, and learn which leases
-- were revoked or are to be cancelled. A late renewal is refused, so that a paused machine
-- cannot come back to life after its jobs were given to others.
WITH renewed AS (
    UPDATE larder.sessions
    SET expires_at = clock_timestamp() + $2::interval
    WHERE id = $1::uuid AND expires_at > clock_timestamp()
    RETURNING id
), unheard AS (
    -- One that is to be cancelled is left to the rescue, which ends it.
    UPDATE larder.jobs
    SET state = CASE WHEN cancel_at IS NULL THEN 'ready' ELSE 'running' END::larder.job_state,
        lease = CASE WHEN cancel_at IS NOT NULL THEN lease END,
        session_id = CASE WHEN cancel_at IS NOT NULL THEN session_id END,
        deadline_at = CASE WHEN cancel_at IS NOT NULL THEN clock_timestamp() END,
        attempt = attempt - 1
    WHERE state = 'running' AND session_id = (SELECT id FROM renewed)
      AND started_at < timestamptz 'epoch' + $4::bigint * interval '1 microsecond'
      AND NOT lease = ANY($3::bigint[])
      -- Those that wait for the rescue are not given back a second time.
      AND (cancel_at IS NULL OR deadline_at IS NULL OR deadline_at > clock_timestamp())
    RETURNING id
)
SELECT 'session_lost' AS what, 0::bigint AS lease
WHERE NOT EXISTS (SELECT FROM renewed)
UNION ALL
SELECT 'clock', (extract(epoch FROM clock_timestamp()) * 1e6)::bigint
UNION ALL
SELECT 'requeued', id FROM unheard
UNION ALL
SELECT CASE WHEN j.id IS NULL THEN 'revoked' ELSE 'cancelled' END, held.lease
FROM unnest($3::bigint[]) AS held (lease)
LEFT JOIN larder.jobs j
    ON j.session_id = $1::uuid AND j.state = 'running' AND j.lease = held.lease
WHERE j.id IS NULL OR j.cancel_at IS NOT NULL
