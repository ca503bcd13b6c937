-- Makes or changes a schedule; a worker computes when it is due next.
CREATE OR REPLACE FUNCTION larder.set_schedule(
    name text, cron text, kind text, args jsonb DEFAULT '{}', zone text DEFAULT 'UTC',
    misfire text DEFAULT 'coalesce', queue text DEFAULT 'default', priority int DEFAULT 100
) RETURNS void LANGUAGE sql AS $$
    INSERT INTO larder.schedules AS s (name, cron, kind, args, zone, misfire, queue, priority)
    VALUES (set_schedule.name, set_schedule.cron, set_schedule.kind, set_schedule.args,
            set_schedule.zone, set_schedule.misfire, set_schedule.queue, set_schedule.priority)
    ON CONFLICT (name) DO UPDATE
    SET cron = excluded.cron, kind = excluded.kind, args = excluded.args, zone = excluded.zone,
        misfire = excluded.misfire, queue = excluded.queue, priority = excluded.priority,
        error = NULL,
        next_at = CASE WHEN s.cron = excluded.cron AND s.zone = excluded.zone THEN s.next_at END
$$;

-- Moves a schedule on from `due` to `next`, and enqueues its job if told so. A compare-and-set:
-- of all the workers that see a due time, one moves it, whatever their clocks say.
CREATE OR REPLACE FUNCTION larder.fire_schedule(
    name text, due timestamptz, next timestamptz, fires boolean
) RETURNS bigint LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
    s larder.schedules;
    job bigint;
BEGIN
    UPDATE larder.schedules t
    SET next_at = fire_schedule.next,
        last_due_at = CASE WHEN fires THEN due ELSE t.last_due_at END
    WHERE t.name = fire_schedule.name AND t.next_at IS NOT DISTINCT FROM due
      AND t.paused_at IS NULL
    RETURNING * INTO s;
    IF NOT FOUND OR NOT fires THEN RETURN NULL; END IF;
    job := larder.enqueue(s.kind, s.args, s.queue, s.priority,
                          dedup_key => format('schedule:%s:%s', s.name, extract(epoch FROM due)::bigint));
    UPDATE larder.schedules t SET last_job = job WHERE t.name = s.name;
    RETURN job;
END $$;
