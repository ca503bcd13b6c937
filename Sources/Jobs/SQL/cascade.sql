-- Jobs that wait for one that failed or was cancelled can never start: they end as cancelled.
-- Run until it returns no row, because each ended job may be the parent of others.
SELECT c.id
FROM larder.cancel(ARRAY(
    SELECT j.id
    FROM larder.jobs j
    WHERE j.state = 'waiting'
      AND EXISTS (SELECT FROM larder.dependencies d
                  JOIN larder.archive a ON a.id = d.parent_id
                  WHERE d.child_id = j.id AND a.state <> 'succeeded')
    ORDER BY j.id
    LIMIT 500
    FOR UPDATE SKIP LOCKED), 'a job it waited for did not succeed') c
