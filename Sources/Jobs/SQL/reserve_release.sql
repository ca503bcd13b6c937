-- $1 feed, $2 run, $3 users or items, $4 format, $5 k, $6 dataset, $7 model, $8 the highest number that
-- Redis knows, which is above ours where Postgres was restored from a backup.
-- The number of a run's release; the same one when the job is run again. The feed's row is
-- locked by the update, so two runs cannot get one number.
WITH existing AS (
    SELECT number FROM larder.releases WHERE run_id = $2::bigint
), numbered AS (
    UPDATE larder.feeds SET last_release = greatest(last_release, $8::int) + 1
    WHERE name = $1 AND NOT EXISTS (SELECT FROM existing)
    RETURNING last_release
), added AS (
    INSERT INTO larder.releases (feed, number, run_id, lists_for, format, k, dataset, model)
    SELECT $1, last_release, $2::bigint, $3, $4, $5::int, $6, $7 FROM numbered
    RETURNING number
)
SELECT number FROM existing UNION ALL SELECT number FROM added
