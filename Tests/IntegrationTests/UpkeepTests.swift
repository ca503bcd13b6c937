// SPDX-License-Identifier: Apache-2.0
import Foundation
import Postgres
import TestSupport
import Testing

@testable import Jobs

/// Schedules, retention, and what one worker does for all.
@Suite(.timeLimit(Effort.limit)) struct UpkeepTests {
    private func withQueue(_ body: (Queue) async throws -> Void) async throws {
        try await TestServers.withDatabase { settings in try await body(Queue(Client(settings))) }
    }

    /// Pretends that the schedule has been due for so long.
    private func makeDue(_ queue: Queue, _ name: String, ago: String) async throws {
        try await queue.client.execute(
            """
            UPDATE larder.schedules
            SET next_at = date_trunc('minute', clock_timestamp()) - $2::interval WHERE name = $1
            """,
            [Parameter(name), Parameter(ago)]
        )
    }

    @Test func `twelve workers fire a due time once`() async throws {
        try await TestServers.withDatabase { settings in
            let queue = Queue(Client(settings))
            try await queue.setSchedule("nightly", cron: "* * * * *", kind: "x", args: #"{"a":1}"#)
            // The first look computes the time and fires nothing.
            #expect(try await queue.fireSchedules().isEmpty)
            for round in 1...3 {
                try await makeDue(queue, "nightly", ago: "\(round) seconds")
                let fired = try await withThrowingTaskGroup(of: Int.self) { group in
                    for _ in 0..<12 {
                        group.addTask { try await Queue(Client(settings)).fireSchedules().count }
                    }
                    return try await group.reduce(0, +)
                }
                #expect(fired == 1)
            }
            let jobs = try await Runs(queue.client).jobs()
            #expect(jobs.count == 3)
            #expect(jobs.allSatisfy { $0.kind == "x" })
            #expect(try await queue.schedules().first?.lastJob == jobs.map(\.id).max())
        }
    }

    @Test func `cleaning while a run is being started takes nothing of it away`() async throws {
        try await TestServers.withDatabase { settings in
            let queue = Queue(Client(settings))
            let cleaning = try await Client(settings).transaction {
                connection throws(PostgresError) in
                try connection.executeScript(
                    """
                    LOCK TABLE larder.dependencies IN SHARE ROW EXCLUSIVE MODE;
                    INSERT INTO larder.jobs (queue_id, kind, name, pending, state, timeout, max_attempts)
                    SELECT larder.queue_id('default'), 'x', n, n::int - 1,
                           CASE n WHEN '1' THEN 'ready' ELSE 'waiting' END::larder.job_state,
                           '1 minute', 5
                    FROM unnest('{1,2}'::text[]) n;
                    INSERT INTO larder.dependencies (parent_id, child_id, on_fail)
                    SELECT min(id), max(id), 'cancel' FROM larder.jobs;
                    """
                )
                // It sees that ids were given out, not the jobs; and waits for their dependencies.
                let cleaning = Task { try await queue.number("SELECT larder.clean() AS n") }
                var waiting = 0
                while waiting == 0 {
                    waiting = try connection.execute(
                        "SELECT count(*) AS n FROM pg_locks WHERE NOT granted AND relation = 'larder.dependencies'::regclass"
                    ).map { row throws(PostgresError) in try row.decode("n", Int.self) }[0]
                }
                return cleaning
            }
            _ = try await cleaning.value
            #expect(try await queue.number("SELECT count(*) AS n FROM larder.dependencies") == 1)
        }
    }

    @Test(arguments: [("skip", 0), ("coalesce", 1), ("catch-up", 4)])
    func `after hours without a worker`(_ misfire: String, _ jobs: Int) async throws {
        try await withQueue { queue in
            // Due half an hour ago, so that nothing is on time, at whatever time this runs.
            let minute = try await queue.number(
                "SELECT (extract(minute FROM clock_timestamp())::int + 30) % 60 AS n"
            )
            try await queue.setSchedule(
                "s",
                cron: "\(minute) * * * *",
                misfire: #require(Queue.Misfire(rawValue: misfire)),
                kind: "x"
            )
            _ = try await queue.fireSchedules()
            try await queue.client.execute(
                """
                UPDATE larder.schedules
                SET next_at = date_trunc('minute', clock_timestamp() - interval '30 minutes')
                    - interval '3 hours'
                """
            )
            #expect(try await queue.fireSchedules().count == jobs)
            #expect(try await queue.fireSchedules().isEmpty)
            let next = try #require(try await queue.schedules().first?.nextAt)
            #expect(next > Date() && next < Date() + 3601)
        }
    }

    @Test func `a clock that goes back fires nothing twice`() async throws {
        try await withQueue { queue in
            try await queue.setSchedule("s", cron: "* * * * *", kind: "x")
            _ = try await queue.fireSchedules()
            try await makeDue(queue, "s", ago: "1 second")
            #expect(try await queue.fireSchedules().count == 1)
            // What a worker with an old reading would do: the due time that was fired already.
            let late = try await queue.client.query(
                """
                SELECT larder.fire_schedule('s', last_due_at, clock_timestamp(), true) AS job
                FROM larder.schedules
                """
            ) { row throws(PostgresError) in try row.decodeIfPresent("job", Int.self) }
            #expect(late == [nil])
        }
    }

    @Test func `a schedule is paused, changed, removed, and a bad one is marked`() async throws {
        try await withQueue { queue in
            try await queue.setSchedule("s", cron: "0 3 * * *", zone: "Europe/Rome", kind: "x")
            _ = try await queue.fireSchedules()
            try await queue.pauseSchedule("s")
            try await makeDue(queue, "s", ago: "1 second")
            #expect(try await queue.fireSchedules().isEmpty)
            try await queue.resumeSchedule("s")
            #expect(try await queue.fireSchedules().count == 1)
            let before = try #require(try await queue.schedules().first?.nextAt)
            // The same times: nothing moves. Others: computed anew.
            try await queue.setSchedule("s", cron: "0 3 * * *", zone: "Europe/Rome", kind: "y")
            #expect(try await queue.schedules().first?.nextAt == before)
            try await queue.setSchedule("s", cron: "0 4 * * *", zone: "Europe/Rome", kind: "y")
            #expect(try await queue.schedules().first?.nextAt == nil)
            await #expect(throws: JobsError.self) {
                try await queue.setSchedule("t", cron: "0 25 * * *", kind: "x")
            }
            try await queue.client.execute(
                "SELECT larder.set_schedule('sql', '0 25 * * *', 'x')"
            )
            #expect(try await queue.fireSchedules().isEmpty)
            let bad = try await queue.schedules().first { $0.name == "sql" }
            #expect(bad?.error?.contains("\"25\" in the hour field") == true)
            try await queue.removeSchedule("sql")
            await #expect(throws: JobsError.self) { try await queue.removeSchedule("sql") }
            #expect(try await queue.schedules().map(\.name) == ["s"])
        }
    }

    @Test func `a schedule that cannot be enqueued does not stand before the others`() async throws
    {
        try await withQueue { queue in
            try await queue.setSchedule("bad", cron: "* * * * *", kind: "x")
            try await queue.setSchedule("good", cron: "* * * * *", kind: "x")
            _ = try await queue.fireSchedules()
            try await queue.client.execute(
                "ALTER TABLE larder.jobs ADD CHECK (dedup_key NOT LIKE 'schedule:bad:%')"
            )
            try await makeDue(queue, "bad", ago: "30 seconds")
            try await makeDue(queue, "good", ago: "1 second")
            #expect(try await queue.fireSchedules().map(\.schedule) == ["good"])
            let bad = try await queue.schedules().first { $0.name == "bad" }
            #expect(bad?.error?.contains("23514") == true)
            await #expect(throws: JobsError.self) {
                try await queue.setSchedule("s", cron: "* * * * *", kind: "x", queue: "My Queue")
            }
            // A queue that nobody has used yet has a backlog too.
            try await queue.setSchedule("s", cron: "* * * * *", kind: "x", queue: "new")
            #expect(try await queue.number("SELECT larder.backlog('new') AS n") == 1)
        }
    }

    @Test func `a due schedule is backlog, so that somebody is started for it`() async throws {
        try await withQueue { queue in
            try await queue.setSchedule("s", cron: "0 0 1 1 *", kind: "x")
            _ = try await queue.fireSchedules()
            #expect(try await queue.number("SELECT larder.backlog('default') AS n") == 0)
            try await makeDue(queue, "s", ago: "1 second")
            #expect(try await queue.number("SELECT larder.backlog('default') AS n") == 1)
        }
    }

    @Test func `each chore is given to one worker a time`() async throws {
        try await TestServers.withDatabase { settings in
            let taken = try await withThrowingTaskGroup(of: Set<Queue.Chore>.self) { group in
                for _ in 0..<10 {
                    group.addTask { try await Queue(Client(settings)).takeChores() }
                }
                return try await group.reduce(into: []) { $0 += Array($1) }
            }
            let all = try await Queue(Client(settings)).number(
                "SELECT count(*) AS n FROM larder.chores"
            )
            #expect(taken.count == all && Set(taken).count == all)
        }
    }

    /// Takes away the day of an upgrade, which holds everything up to today.
    private func dropToday(_ queue: Queue) async throws {
        let today = try await queue.client.query(
            "SELECT to_char(clock_timestamp() AT TIME ZONE 'UTC', 'YYYYMMDD') AS day"
        ) { row throws(PostgresError) in try row.decode("day", String.self) }[0]
        try await queue.client.execute("DROP TABLE larder.archive_\(today)")
    }

    @Test func `the archive has days ahead, and days past their time are dropped`() async throws {
        try await withQueue { queue in
            let made = try await queue.clean()
            #expect(made.count == 3)
            #expect(try await queue.clean().isEmpty)
            try await dropToday(queue)
            try await queue.client.execute(
                """
                CREATE TABLE larder.archive_20200101 PARTITION OF larder.archive
                FOR VALUES FROM ('2020-01-01 00:00+00') TO ('2020-01-02 00:00+00')
                """
            )
            for day in ["2020-01-01 12:00+00", "2020-06-01 12:00+00", "now"] {
                try await queue.client.execute(
                    """
                    INSERT INTO larder.archive (id, created_at, finished_at, queue_id, attempt,
                                                max_attempts, state, kind, name, args)
                    VALUES (1, now(), $1::timestamptz, 1, 1, 1, 'succeeded', 'x', 'x', '{}')
                    """,
                    [Parameter(day)]
                )
            }
            #expect(try await queue.clean() == ["dropped archive_20200101"])
            #expect(try await queue.number("SELECT count(*) AS n FROM larder.archive") == 1)
        }
    }

    @Test func `a reader of the archive delays a drop and blocks nobody`() async throws {
        try await TestServers.withDatabase { settings in
            let queue = Queue(Client(settings))
            let reader = try Connection(settings)
            _ = try reader.execute("BEGIN")
            _ = try reader.execute("SELECT count(*) FROM larder.archive")
            #expect(try await queue.clean().isEmpty)
            let id = try await queue.enqueue("x")
            let session = try await queue.openSession()
            let job = try #require(
                try await queue.claim(1, from: "default", for: session).first
            )
            #expect(try await queue.finish(job, .succeeded(JobResult()), by: session) != nil)
            #expect(try await queue.state(of: id) == "succeeded")
            _ = try reader.execute("COMMIT")
            #expect(try await queue.clean().count == 3)
        }
    }

    @Test func `cleaning keeps what is alive or can be seen by readers`() async throws {
        try await withQueue { queue in
            try await dropToday(queue)
            let session = try await queue.openSession()
            func run(_ feed: String) async throws -> Int {
                let run = try await Graph.start(
                    feed: feed,
                    pipeline: "{}",
                    jobs: [
                        NewJob(name: "a", kind: "k"), NewJob(name: "b", kind: "k", after: ["a"]),
                    ],
                    on: queue.client
                )
                while let job = try await queue.claim(1, from: "default", for: session).first {
                    _ = try await queue.finish(job, .succeeded(JobResult()), by: session)
                }
                return run
            }
            let gone = try await run("f")
            let served = try await run("g")
            _ = try await Releases(queue.client).reserve(
                feed: "g",
                run: served,
                listsFor: "users",
                format: "json",
                k: 1,
                dataset: "d",
                model: "m",
                known: 0
            )
            for statement in [
                "UPDATE larder.archive SET finished_at = finished_at - interval '60 days'",
                "UPDATE larder.runs SET created_at = created_at - interval '60 days'",
            ] { try await queue.client.execute(statement) }
            _ = try await queue.clean()
            #expect(try await Runs(queue.client).list().map(\.id) == [served])
            #expect(gone != served)
            #expect(try await queue.number("SELECT count(*) AS n FROM larder.archive") == 0)
            #expect(try await queue.number("SELECT count(*) AS n FROM larder.dependencies") == 0)
        }
    }

    @Test func `a transaction that keeps vacuum from its work is named`() async throws {
        try await TestServers.withDatabase { settings in
            let queue = Queue(Client(settings))
            #expect(try await queue.xminHolders().isEmpty)
            var named = settings
            named.target += " application_name=reports"
            let holder = try Connection(named)
            _ = try holder.execute("BEGIN ISOLATION LEVEL REPEATABLE READ")
            _ = try holder.execute("SELECT 1")
            // Five minutes are long in a test: the statement with one second.
            let impatient = SQL.xminHolders.replacing(
                "interval '5 minutes'",
                with: "interval '1 s'"
            )
            .replacing("LIMIT 3", with: "")
            try await Task.sleep(for: .milliseconds(1200))
            let who = try await queue.client.query(impatient) { row throws(PostgresError) in
                try row.decode("who", String.self)
            }
            #expect(who.contains { $0.contains("reports") && $0.contains("idle in transaction") })
            _ = try holder.execute("COMMIT")
        }
    }

    @Test func `an upgrade keeps the jobs of a loaded queue, running ones too`() async throws {
        try await TestServers.withEmptyDatabase { settings in
            let client = Client(settings)
            let queue = Queue(client)
            _ = try await Migrator(client).migrate(to: 1)
            await #expect(throws: JobsError.self) { try await Migrator(client).check() }
            // What version 1 had under way: ready, delayed, running, a run whose first job failed
            // and whose worker died before it had cancelled the second.
            let session = try await queue.openSession()
            try await client.execute(
                """
                SELECT larder.enqueue('x'), larder.enqueue('later', run_at => now() + interval '1 h'),
                       larder.enqueue('x', dedup_key => 'd')
                """
            )
            try await client.execute(
                """
                UPDATE larder.jobs SET state = 'running', lease = nextval('larder.leases'),
                       session_id = $1::uuid, attempt = 1, started_at = clock_timestamp(),
                       deadline_at = clock_timestamp() + timeout WHERE id = 1
                """,
                [Parameter(session.id)]
            )
            try await client.execute(
                """
                WITH run AS (INSERT INTO larder.runs (feed, pipeline) VALUES ('f', '{}') RETURNING id),
                     child AS (INSERT INTO larder.jobs (run_id, queue_id, state, pending, kind, name)
                               SELECT id, 1, 'waiting', 1, 'k', 'child' FROM run RETURNING id),
                     parent AS (INSERT INTO larder.archive (id, run_id, created_at, queue_id, attempt,
                                    max_attempts, state, kind, name, args)
                                SELECT 900, id, now(), 1, 1, 1, 'failed', 'k', 'parent', '{}' FROM run)
                INSERT INTO larder.dependencies (parent_id, child_id) SELECT 900, id FROM child
                """
            )
            let applied = try await withThrowingTaskGroup(of: Int.self) { group in
                for _ in 0..<2 {
                    group.addTask { try await Migrator(Client(settings)).migrate().count }
                }
                return try await group.reduce(0, +)
            }
            #expect(applied == Migrator.latest - 1)
            try await Migrator(client).check()
            try await queue.cascade()
            let child = try await Runs(client).jobs().first { $0.name == "child" }
            #expect(child?.state == "cancelled")
            #expect(
                try await queue.beat(session, leases: [1]) == []
            )
            #expect(
                try await queue.number(
                    """
                    SELECT count(*) AS n FROM larder.finish($1::uuid, '{1}', '{1}', '{succeeded}',
                                                            '{NULL}', '{"{}"}')
                    """,
                    [Parameter(session.id)]
                ) == 1
            )
            #expect(try await queue.enqueue("x", dedupKey: "d") == 3)
            #expect(try await queue.claim(9, from: "default", for: session).map(\.id) == [3])
        }
    }
}
