-- What upkeep is due and now this worker's to do; a worker that finds the row locked leaves it.
-- A time in the future was written before the server's clock was put back.
UPDATE larder.chores c SET done_at = clock_timestamp()
FROM (SELECT name FROM larder.chores
      WHERE done_at + every <= clock_timestamp() OR done_at > clock_timestamp()
      FOR UPDATE SKIP LOCKED) due
WHERE c.name = due.name
RETURNING c.name
