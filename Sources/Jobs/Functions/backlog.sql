-- For KEDA's postgresql scaler, strategy `accurate`: what a worker that starts now would find to
-- do; never NULL, bounded work, an index for each part. Beside ready jobs these are due ones and
-- due schedules, jobs of dead workers, groups that can close and jobs that cannot start: with no
-- worker up, nobody else would notice them.
CREATE OR REPLACE FUNCTION larder.backlog(queue text) RETURNS bigint LANGUAGE sql STABLE AS $$
    WITH q AS MATERIALIZED (
        SELECT id FROM larder.queues WHERE name = backlog.queue AND paused_at IS NULL)
    SELECT count(*) FROM (
        SELECT FROM larder.jobs j, q WHERE j.queue_id = q.id AND j.state = 'ready'
        UNION ALL
        SELECT FROM larder.jobs j, q
        WHERE j.queue_id = q.id AND j.state = 'scheduled' AND j.run_at <= now()
        UNION ALL
        SELECT FROM larder.jobs j, q
        WHERE j.queue_id = q.id AND j.state = 'running'
          AND (j.deadline_at < now()
               OR NOT EXISTS (SELECT FROM larder.sessions s
                              WHERE s.id = j.session_id AND s.expires_at > now()))
        UNION ALL
        SELECT FROM larder.jobs j, q WHERE j.queue_id = q.id AND j.doomed_by IS NOT NULL
        UNION ALL
        SELECT FROM larder.groups g
        CROSS JOIN LATERAL (SELECT coalesce(sum(d.done), 0) AS done,
                                   coalesce(sum(d.failed), 0) AS failed
                            FROM larder.group_deltas d WHERE d.group_id = g.id) s
        JOIN larder.jobs j ON j.id = g.join_job
        JOIN q ON q.id = j.queue_id
        WHERE g.state = 'open'
          AND (s.done >= g.total OR g.deadline_at <= now()
               OR g.early AND s.done - s.failed >= coalesce(g.need, g.total)
               OR g.total - s.failed < coalesce(g.need, g.total))
        UNION ALL
        -- Of a queue, too, that nobody has used yet.
        SELECT FROM larder.schedules s
        WHERE s.queue = backlog.queue AND s.paused_at IS NULL AND s.error IS NULL
          AND (s.next_at <= now() OR s.next_at IS NULL)
          AND NOT EXISTS (SELECT FROM larder.queues p
                          WHERE p.name = backlog.queue AND p.paused_at IS NOT NULL)
        LIMIT 10000) capped
$$;
