-- For people. New columns are added at the end: other views may stand on these.
CREATE OR REPLACE VIEW larder.all_jobs AS
SELECT j.id, j.run_id, j.group_id, q.name AS queue, j.kind, j.name, j.state, j.attempt,
       j.max_attempts, j.args, NULL::jsonb AS result, j.last_error AS error, j.created_at,
       j.started_at, NULL::timestamptz AS finished_at, j.session_id,
       p.fraction, p.message, j.run_at, j.priority, j.timeout, j.dedup_key, j.quarantined,
       j.cancel_at IS NOT NULL AS cancelling, p.checkpoint
FROM larder.jobs j
JOIN larder.queues q ON q.id = j.queue_id
LEFT JOIN larder.progress p ON p.job_id = j.id AND (p.lease = j.lease OR j.lease IS NULL)
UNION ALL
SELECT a.id, a.run_id, a.group_id, q.name, a.kind, a.name, a.state, a.attempt, a.max_attempts,
       a.args, a.result, a.error, a.created_at, a.started_at, a.finished_at, a.session_id,
       NULL, NULL, NULL, a.priority, a.timeout, a.dedup_key, false, false, NULL
FROM larder.archive a
JOIN larder.queues q ON q.id = a.queue_id;

CREATE OR REPLACE VIEW larder.queue_states AS
SELECT q.name AS queue, q.paused_at, q.max_running,
       count(j.id) FILTER (WHERE j.state = 'ready') AS ready,
       count(j.id) FILTER (WHERE j.state = 'running') AS running,
       count(j.id) FILTER (WHERE j.state = 'scheduled') AS scheduled,
       count(j.id) FILTER (WHERE j.state = 'waiting') AS waiting,
       count(j.id) FILTER (WHERE j.quarantined) AS quarantined,
       coalesce(extract(epoch FROM clock_timestamp() - min(j.created_at)
                        FILTER (WHERE j.state = 'ready')), 0)::double precision
           AS oldest_ready_seconds
FROM larder.queues q LEFT JOIN larder.jobs j ON j.queue_id = q.id
GROUP BY q.id;

-- The last hour, minute by minute.
CREATE OR REPLACE VIEW larder.throughput AS
SELECT date_trunc('minute', a.finished_at) AS minute, q.name AS queue, a.kind,
       count(*) FILTER (WHERE a.state = 'succeeded') AS succeeded,
       count(*) FILTER (WHERE a.state = 'failed') AS failed,
       count(*) FILTER (WHERE a.state = 'cancelled') AS cancelled,
       avg(extract(epoch FROM a.finished_at - a.started_at))::double precision AS mean_seconds
FROM larder.archive a JOIN larder.queues q ON q.id = a.queue_id
WHERE a.finished_at > now() - interval '1 hour'
GROUP BY 1, 2, 3;

-- A member of a group that closed with enough others took nothing from the run.
CREATE OR REPLACE VIEW larder.run_states AS
SELECT r.id, r.feed, r.pipeline, r.created_at,
       CASE WHEN live.jobs > 0 THEN 'running'
            WHEN ended.failed > 0 THEN 'failed'
            WHEN ended.cancelled > 0 THEN 'cancelled'
            ELSE 'succeeded' END AS state,
       CASE WHEN live.jobs = 0 THEN ended.finished_at END AS finished_at,
       live.jobs AS alive, ended.jobs AS ended
FROM larder.runs r
CROSS JOIN LATERAL (
    SELECT count(*) AS jobs FROM larder.jobs j WHERE j.run_id = r.id) live
CROSS JOIN LATERAL (
    SELECT count(*) AS jobs,
           count(*) FILTER (WHERE a.state = 'failed' AND g.id IS NULL) AS failed,
           count(*) FILTER (WHERE a.state = 'cancelled' AND g.id IS NULL) AS cancelled,
           max(a.finished_at) AS finished_at
    FROM larder.archive a
    LEFT JOIN larder.groups g ON g.id = a.group_id AND g.state = 'closed'
    WHERE a.run_id = r.id) ended;
