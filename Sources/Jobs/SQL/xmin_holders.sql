-- Who keeps vacuum from removing dead rows, oldest first: transactions, slots, prepared ones.
SELECT coalesce(extract(epoch FROM clock_timestamp() - xact_start), 0)::double precision AS seconds,
       format('backend %s of user %s, application "%s", %s', pid, usename, application_name, state)
           AS who
FROM pg_stat_activity
WHERE backend_xmin IS NOT NULL AND pid <> pg_backend_pid()
  AND xact_start < clock_timestamp() - interval '5 minutes'
UNION ALL
SELECT extract(epoch FROM clock_timestamp() - prepared), format('prepared transaction "%s"', gid)
FROM pg_prepared_xacts WHERE prepared < clock_timestamp() - interval '5 minutes'
UNION ALL
SELECT 0, format('%s replication slot "%s"', CASE WHEN active THEN 'active' ELSE 'idle' END, slot_name)
FROM pg_replication_slots
WHERE xmin IS NOT NULL AND age(xmin) > 1000000
ORDER BY 1 DESC
LIMIT 3
