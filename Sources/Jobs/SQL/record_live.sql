-- $1 feed, $2 number, $3 lists, $4 bytes, $5 share of lists that changed, $6 new items of one.
-- Two updates in one statement would both see the old row under the unique index, so the caller
-- runs retire_live first, in the same transaction.
UPDATE larder.releases l
SET state = 'live', live_at = clock_timestamp(),
    lists = coalesce($3::bigint, lists), bytes = coalesce($4::bigint, bytes),
    changed_lists = coalesce($5::double precision, changed_lists),
    new_items = coalesce($6::double precision, new_items),
    results = coalesce((
        SELECT jsonb_object_agg(a.name, a.result) FROM larder.archive a
        WHERE a.run_id = l.run_id AND a.state = 'succeeded' AND a.result IS NOT NULL
          AND a.group_id IS NULL OR a.run_id = l.run_id AND a.kind = 'predict'
              AND a.state = 'succeeded'), results)
WHERE feed = $1 AND number = $2::int AND state <> 'collected'
