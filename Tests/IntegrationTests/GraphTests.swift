// SPDX-License-Identifier: Apache-2.0
import Foundation
import Postgres
import TestSupport
import Testing

@testable import Jobs

/// Runs as graphs of jobs: order, fan-out, join, and what happens when a part fails.
@Suite(.timeLimit(Effort.limit)) struct GraphTests {
    /// Works through a run by hand: claims what is ready and ends it as told.
    private struct Hand {
        let queue: Queue
        let session: Session

        init(_ settings: ConnectionSettings) async throws {
            queue = Queue(Client(settings))
            session = try await queue.openSession()
        }

        func claim(_ count: Int = 100) async throws -> [Job] {
            try await queue.claim(count, from: "default", for: session)
        }

        func finish(_ job: Job, fanOut: FanOut? = nil) async throws {
            let outcome = try await queue.finish(
                job,
                .succeeded(JobResult(fanOut: fanOut)),
                by: session
            )
            #expect(outcome == "succeeded")
        }

        func start(_ jobs: [NewJob], feed: String = "f") async throws -> Int {
            try await Graph.start(feed: feed, pipeline: "{}", jobs: jobs, on: queue.client)
        }

        func states(_ run: Int) async throws -> [String: String] {
            let jobs = try await Runs(queue.client).jobs(run: run, limit: 100_000)
            return Dictionary(uniqueKeysWithValues: jobs.map { ($0.name, $0.state) })
        }

        func runState(_ run: Int) async throws -> String {
            try await Runs(queue.client).run(run).state
        }
    }

    private func withHand(_ body: (Hand) async throws -> Void) async throws {
        try await TestServers.withDatabase { settings in try await body(Hand(settings)) }
    }

    private static let diamond = [
        NewJob(name: "a", kind: "k"), NewJob(name: "b", kind: "k", after: ["a"]),
        NewJob(name: "c", kind: "k", after: ["a"]),
        NewJob(name: "d", kind: "k", after: ["b", "c"]),
    ]

    @Test func `a job starts when all it waits for have succeeded`() async throws {
        try await withHand { hand in
            let run = try await hand.start(Self.diamond)
            var order: [[String]] = []
            while case let jobs = try await hand.claim(), !jobs.isEmpty {
                order.append(jobs.map(\.name).sorted())
                for job in jobs { try await hand.finish(job) }
            }
            #expect(order == [["a"], ["b", "c"], ["d"]])
            #expect(try await hand.runState(run) == "succeeded")
        }
    }

    @Test func `what waits for a failed job is cancelled, with a reason`() async throws {
        try await withHand { hand in
            let run = try await hand.start(Self.diamond)
            let a = try #require(try await hand.claim().first)
            _ = try await hand.queue.finish(a, .failed("bad data", .fatal), by: hand.session)
            #expect(
                try await hand.states(run) == [
                    "a": "failed", "b": "cancelled", "c": "cancelled", "d": "cancelled",
                ]
            )
            #expect(try await hand.runState(run) == "failed")
            let errors = try await Runs(hand.queue.client).jobs(run: run).map(\.error)
            #expect(errors.contains("bad data"))
            #expect(errors.contains("job 1 (a), which it waited for, did not succeed"))
        }
    }

    private static let fan = [
        NewJob(name: "split", kind: "k"),
        NewJob(name: "join", kind: "k", after: ["split"], joinsGroup: true),
    ]

    private func shards(_ count: Int) -> FanOut {
        FanOut(
            (1...count).map { NewJob(name: "part \($0)", kind: "k", maxAttempts: 1) },
            join: "join"
        )
    }

    @Test(arguments: [1, 7, 500])
    func `a join starts once, after the last of its group`(_ count: Int) async throws {
        try await withHand { hand in
            let run = try await hand.start(Self.fan)
            let split = try #require(try await hand.claim().first)
            try await hand.finish(split, fanOut: shards(count))
            let parts = try await hand.claim(1000)
            #expect(parts.count == count)
            for part in parts.dropLast() { try await hand.finish(part) }
            #expect(try await hand.claim().isEmpty)
            try await hand.finish(#require(parts.last))
            let ready = try await hand.claim()
            #expect(ready.map(\.name) == ["join"])
            let join = try #require(ready.first)
            try await hand.queue.closeGroups()
            #expect(try await hand.claim().isEmpty)
            try await hand.finish(join)
            #expect(try await hand.runState(run) == "succeeded")
        }
    }

    @Test func `eight finishers at once close a group exactly once`() async throws {
        try await TestServers.withDatabase { settings in
            let hand = try await Hand(settings)
            _ = try await hand.start(Self.fan)
            try await hand.finish(#require(try await hand.claim().first), fanOut: shards(200))
            try await withThrowingTaskGroup(of: Void.self) { group in
                for _ in 0..<8 {
                    group.addTask {
                        let own = try await Hand(settings)
                        while case let jobs = try await own.claim(3), !jobs.isEmpty {
                            for job in jobs where job.name != "join" { try await own.finish(job) }
                        }
                    }
                }
                try await group.waitForAll()
            }
            let counts = try await hand.queue.client.query(
                """
                SELECT (SELECT count(*) FROM larder.groups WHERE state = 'closed' AND done = 200) AS closed,
                       (SELECT count(*) FROM larder.group_deltas) AS deltas,
                       (SELECT max(attempt) FROM larder.jobs WHERE name = 'join') AS attempts
                """
            ) { row throws(PostgresError) in
                [
                    try row.decode("closed", Int.self), try row.decode("deltas", Int.self),
                    try row.decode("attempts", Int.self),
                ]
            }
            #expect(counts == [[1, 0, 1]])
        }
    }

    @Test func `a group whose last finisher died is closed by the sweep`() async throws {
        try await withHand { hand in
            _ = try await hand.start(Self.fan)
            try await hand.finish(#require(try await hand.claim().first), fanOut: shards(2))
            for part in try await hand.claim() {
                // What `finish` does up to its commit, and then no close_group.
                _ = try await hand.queue.finish(
                    [(part, .succeeded(JobResult()))],
                    by: hand.session
                )
            }
            #expect(try await hand.claim().isEmpty)
            try await hand.queue.closeGroups()
            #expect(try await hand.claim().map(\.name) == ["join"])
        }
    }

    @Test func `a group with a failed member cancels its join, and says how many`() async throws {
        try await withHand { hand in
            let run = try await hand.start(Self.fan)
            try await hand.finish(#require(try await hand.claim().first), fanOut: shards(3))
            let parts = try await hand.claim()
            _ = try await hand.queue.finish(parts[0], .failed("e", .fatal), by: hand.session)
            for part in parts.dropFirst() { try await hand.finish(part) }
            #expect(try await hand.states(run)["join"] == "cancelled")
            let join = try await Runs(hand.queue.client).jobs(run: run).first { $0.name == "join" }
            #expect(join?.error == "1 of the 3 jobs it waited for did not succeed, and 3 had to")
            #expect(try await hand.runState(run) == "failed")
        }
    }

    @Test func `a fan-out is added only with an accepted result`() async throws {
        try await withHand { hand in
            let run = try await hand.start(Self.fan)
            let split = try #require(try await hand.claim().first)
            try await hand.finish(split, fanOut: shards(2))
            let again = try await hand.queue.finish(
                split,
                .succeeded(JobResult(fanOut: shards(2))),
                by: hand.session
            )
            #expect(again == nil)
            #expect(try await hand.states(run).count == 4)
        }
    }

    @Test func `a feed has one run at a time`() async throws {
        try await withHand { hand in
            let run = try await hand.start(Self.diamond)
            let error = await #expect(throws: JobsError.self) {
                _ = try await hand.start(Self.diamond)
            }
            #expect(error?.description.contains("by run \(run)") == true)
            _ = try await hand.start(Self.diamond, feed: "other")
            #expect(try await Runs(hand.queue.client).cancel(run) == 4)
            #expect(try await hand.runState(run) == "cancelled")
            #expect(try await hand.start(Self.diamond) > run)
        }
    }

    @Test func `a job that starts a run and is run again has started one run`() async throws {
        try await withHand { hand in
            func start() async throws -> Int {
                try await Graph.start(
                    feed: "f",
                    pipeline: "{}",
                    jobs: Self.diamond,
                    startedBy: 77,
                    on: hand.queue.client
                )
            }
            let run = try await start()
            #expect(try await start() == run)
            _ = try await Runs(hand.queue.client).cancel(run)
            #expect(try await start() == run)
        }
    }

    @Test func `eight starters at once start one run`() async throws {
        try await TestServers.withDatabase { settings in
            let started = try await withThrowingTaskGroup(of: Int.self) { group in
                for _ in 0..<8 {
                    group.addTask {
                        let run = try? await Graph.start(
                            feed: "f",
                            pipeline: "{}",
                            jobs: Self.diamond,
                            on: Client(settings)
                        )
                        return run == nil ? 0 : 1
                    }
                }
                return try await group.reduce(0, +)
            }
            #expect(started == 1)
        }
    }

    @Test func `cancelling a run with a job at work lets the worker end it`() async throws {
        try await withHand { hand in
            let run = try await hand.start(Self.diamond)
            let a = try #require(try await hand.claim().first)
            #expect(try await Runs(hand.queue.client).cancel(run) == 4)
            #expect(try await hand.states(run)["a"] == "running")
            _ = try await hand.queue.finish(a, .failed("stopped", .retryable), by: hand.session)
            #expect(try await hand.runState(run) == "cancelled")
        }
    }
}

@Suite(.timeLimit(Effort.limit)) struct MigratorTests {
    @Test func `migrating twice, and from eight places at once, is migrating once`() async throws {
        try await TestServers.withEmptyDatabase { settings in
            let applied = try await withThrowingTaskGroup(of: Int.self) { group in
                for _ in 0..<8 {
                    group.addTask { try await Migrator(Client(settings)).migrate().count }
                }
                return try await group.reduce(0, +)
            }
            #expect(applied == Migrator.latest)
            #expect(try await Migrator(Client(settings)).migrate().isEmpty)
            try await Migrator(Client(settings)).check()
        }
    }

    @Test func `a missing schema is told with the cure, a newer one is refused`() async throws {
        try await TestServers.withEmptyDatabase { settings in
            let migrator = Migrator(Client(settings))
            let missing = await #expect(throws: JobsError.self) { try await migrator.check() }
            #expect(missing?.description.contains("larder migrate") == true)
            _ = try await migrator.migrate()
            try await Client(settings).execute(
                "INSERT INTO larder.migrations (number, name) VALUES (999, 'future')"
            )
            for action in [migrator.check, { _ = try await migrator.migrate() }] {
                let error = await #expect(throws: (any Error).self) { try await action() }
                #expect(error.map { "\($0)" }?.contains("schema 999") == true)
            }
        }
    }
}

@Suite(.timeLimit(Effort.limit)) struct ReleasesTests {
    @Test func `a run has one release however often it asks, and numbers are never reused`()
        async throws
    {
        try await TestServers.withDatabase { settings in
            let client = Client(settings)
            try await client.execute("INSERT INTO larder.feeds (name) VALUES ('f')")
            let releases = Releases(client)
            func reserve(_ run: Int, known: Int = 0) async throws -> Int {
                try await releases.reserve(
                    feed: "f",
                    run: run,
                    listsFor: "users",
                    format: "json",
                    k: 10,
                    dataset: "d",
                    model: "m",
                    known: known
                )
            }
            #expect(try await reserve(1) == 1)
            #expect(try await reserve(1) == 1)
            #expect(try await reserve(2) == 2)
            try await releases.recordLive(feed: "f", number: 1, .init(lists: 5, bytes: 50))
            try await releases.recordLive(feed: "f", number: 2)
            #expect(try await releases.list(feed: "f").map(\.state) == ["live", "retired"])
            try await releases.recordLive(feed: "f", number: 1)
            #expect(try await releases.list(feed: "f").map(\.state) == ["retired", "live"])
            try await releases.recordCollected(feed: "f", number: 1)
            #expect(try await releases.list(feed: "f").last?.state == "live")
            #expect(try await reserve(3) == 3)
        }
    }
}
