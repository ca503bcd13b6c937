-- Closes a group once, if it is time. Called after the finisher's commit, and by the sweep for a
-- finisher that died in between. Summing inside the finishers' own transactions would lose the
-- last wake-up: under READ COMMITTED two of them cannot see each other's deltas.
CREATE OR REPLACE FUNCTION larder.close_group(group_id bigint) RETURNS boolean
LANGUAGE plpgsql AS $$
DECLARE
    g larder.groups;
    all_done bigint;
    all_failed bigint;
    needed bigint;
    enough boolean;
BEGIN
    -- First a look without a lock, where most calls end; then again under the group's lock, which
    -- admits one closer, with a sum whose snapshot is taken after it.
    FOR look IN 1..2 LOOP
        IF look = 1 THEN
            SELECT * INTO g FROM larder.groups
            WHERE id = close_group.group_id AND state = 'open';
        ELSE
            SELECT * INTO g FROM larder.groups
            WHERE id = close_group.group_id AND state = 'open' FOR UPDATE;
        END IF;
        IF NOT FOUND THEN RETURN false; END IF;
        SELECT coalesce(sum(d.done), 0), coalesce(sum(d.failed), 0) INTO all_done, all_failed
        FROM larder.group_deltas d WHERE d.group_id = close_group.group_id;
        needed := coalesce(g.need, g.total);
        enough := all_done - all_failed >= needed;
        IF NOT (all_done >= g.total                            -- everyone has ended
                OR g.early AND enough                          -- no need to wait for the rest
                OR g.total - all_failed < needed               -- no way to get there
                OR coalesce(g.deadline_at <= clock_timestamp(), false))
        THEN
            RETURN false;
        END IF;
    END LOOP;

    UPDATE larder.groups
    SET state = CASE WHEN enough THEN 'closed' ELSE 'broken' END,
        done = all_done, failed = all_failed, closed_at = clock_timestamp()
    WHERE id = g.id;
    IF enough THEN
        UPDATE larder.jobs
        SET pending = pending - 1,
            state = CASE WHEN pending <= 1 THEN 'ready' ELSE 'waiting' END::larder.job_state
        WHERE id = g.join_job AND state = 'waiting';
    ELSE
        PERFORM larder.cancel(ARRAY[g.join_job], CASE
            WHEN g.total - all_failed < needed THEN format(
                '%s of the %s jobs it waited for did not succeed, and %s had to',
                all_failed, g.total, needed)
            ELSE format('%s of the %s jobs it waited for had succeeded at the deadline, and %s had to',
                        all_done - all_failed, g.total, needed) END);
    END IF;
    IF all_done < g.total THEN
        PERFORM larder.cancel_group(
            g.id, CASE WHEN enough THEN 'its group has what it needs'
                       ELSE 'its group cannot succeed any more' END);
    END IF;
    DELETE FROM larder.group_deltas d WHERE d.group_id = close_group.group_id;
    RETURN true;
END $$;

-- For finishers that died between their commit and close_group. Folds long ledgers, and removes
-- what members that ended after their group had closed still counted.
CREATE OR REPLACE FUNCTION larder.close_groups() RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
    closed bigint;
BEGIN
    SELECT count(*) FILTER (WHERE larder.close_group(g.id)) INTO closed
    FROM larder.groups g WHERE g.state = 'open';
    WITH long AS (
        SELECT d.group_id FROM larder.group_deltas d GROUP BY d.group_id HAVING count(*) > 200),
    gone AS (
        DELETE FROM larder.group_deltas d USING long l WHERE d.group_id = l.group_id RETURNING d.*)
    INSERT INTO larder.group_deltas
    SELECT gone.group_id, sum(gone.done), sum(gone.failed) FROM gone GROUP BY gone.group_id;
    DELETE FROM larder.group_deltas d USING larder.groups g
    WHERE g.id = d.group_id AND g.state <> 'open';
    RETURN closed;
END $$;
