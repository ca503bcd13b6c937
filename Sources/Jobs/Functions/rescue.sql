-- Takes back jobs past their deadline, and jobs whose session expired or is gone. Locked row by
-- row, so a finish that gets there first wins and the row is skipped. A job that was lost with
-- its worker twice may have killed it: from then on it runs alone.
CREATE OR REPLACE FUNCTION larder.rescue()
RETURNS TABLE (id bigint, spent boolean, quarantined boolean, reason text) LANGUAGE plpgsql
SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off AS $$
#variable_conflict use_column
DECLARE
    ids bigint[];
    spents boolean[];
    suspects boolean[];
    reasons text[];
BEGIN
    SELECT array_agg(o.id), array_agg(o.spent), array_agg(o.lost AND o.lost_leases >= 1),
           array_agg(o.reason)
    INTO ids, spents, suspects, reasons
    FROM (SELECT j.id, j.lost_leases, alive.id IS NULL AS lost,
                 j.attempt >= j.max_attempts OR j.cancel_at IS NOT NULL AS spent,
                 CASE WHEN alive.id IS NULL THEN 'its worker stopped sending heartbeats'
                      ELSE 'took longer than its timeout of ' || j.timeout END AS reason
          FROM larder.jobs j
          -- Covers a deleted session row as well as an expired one.
          LEFT JOIN larder.sessions alive
              ON alive.id = j.session_id AND alive.expires_at > clock_timestamp()
          WHERE j.state = 'running'
            AND (alive.id IS NULL OR j.deadline_at < clock_timestamp())
          LIMIT 500
          FOR UPDATE OF j SKIP LOCKED) o;
    IF ids IS NULL THEN RETURN; END IF;

    INSERT INTO larder.attempts (job_id, attempt, lease, session_id, started_at, outcome, error)
    SELECT j.id, j.attempt, j.lease, j.session_id, j.started_at, 'lost', x.reason
    FROM unnest(ids, spents, reasons) AS x (id, spent, reason)
    JOIN larder.jobs j ON j.id = x.id
    WHERE NOT x.spent;
    UPDATE larder.jobs j
    SET state = 'ready', lease = NULL, session_id = NULL, last_error = x.reason,
        lost_leases = j.lost_leases
            + CASE x.reason WHEN 'its worker stopped sending heartbeats' THEN 1 ELSE 0 END,
        quarantined = j.quarantined OR x.suspect
    FROM unnest(ids, spents, suspects, reasons) AS x (id, spent, suspect, reason)
    WHERE j.id = x.id AND NOT x.spent;
    PERFORM larder.end_jobs(
        array_agg(j.id),
        array_agg(CASE WHEN j.cancel_at IS NULL THEN 'failed' ELSE 'cancelled' END::larder.job_state),
        array_agg(CASE WHEN j.cancel_at IS NULL THEN x.reason || ', in its last attempt' END),
        array_fill(NULL::jsonb, ARRAY[count(*)::int]))
    FROM unnest(ids, spents, reasons) AS x (id, spent, reason)
    JOIN larder.jobs j ON j.id = x.id
    WHERE x.spent
    HAVING count(*) > 0;
    RETURN QUERY SELECT * FROM unnest(ids, spents, suspects, reasons);
END $$;
