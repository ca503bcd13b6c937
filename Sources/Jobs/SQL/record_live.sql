-- $1 feed, $2 number, $3 lists, $4 bytes. Two updates in one statement would both see the old
-- row under the unique index, so the caller runs retire_live first, in the same transaction.
UPDATE larder.releases
SET state = 'live', live_at = clock_timestamp(),
    lists = coalesce($3::bigint, lists), bytes = coalesce($4::bigint, bytes)
WHERE feed = $1 AND number = $2::int AND state <> 'collected'
