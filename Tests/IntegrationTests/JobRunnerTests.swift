// SPDX-License-Identifier: Apache-2.0
import Foundation
import Postgres
import Synchronization
import TestSupport
import Testing

@testable import Jobs

/// The runner with handlers of the test's own.
@Suite(.timeLimit(Effort.limit)) struct JobRunnerTests {
    private func runner(
        _ database: ConnectionSettings,
        exitsWhenEmpty: Bool = true,
        slots: Int = 2,
        ttl: Duration = .seconds(45),
        grace: Duration = .seconds(10),
        _ body: @escaping @Sendable (Job, JobContext) async throws -> JobResult
    ) -> JobRunner {
        testRunner(
            database,
            slots: slots,
            change: {
                $0.exitsWhenEmpty = exitsWhenEmpty
                $0.ttl = ttl
                $0.heartbeatInterval = .milliseconds(200)
                $0.drainGrace = grace
            },
            body
        )
    }

    @Test func `jobs are worked on until the queue is empty`() async throws {
        try await TestServers.withDatabase { database in
            let queue = Queue(Client(database))
            for _ in 0..<50 { _ = try await queue.enqueue("x") }
            let ran = Mutex(0)
            try await runner(database) { _, _ in
                ran.withLock { $0 += 1 }
                return JobResult(#"{"ok":true}"#)
            }.run()
            #expect(ran.withLock { $0 } == 50)
            #expect(try await Runs(queue.client).jobs(state: "succeeded", limit: 100).count == 50)
            #expect(try await !queue.hasWorkers())
        }
    }

    @Test func `an error is tried again, a fatal one is not, and both texts are kept`() async throws
    {
        try await TestServers.withDatabase { database in
            struct Hiccup: Error, CustomStringConvertible { let description = "hiccup" }
            let queue = Queue(Client(database))
            let flaky = try await queue.enqueue("flaky")
            let broken = try await queue.enqueue("broken")
            try await runner(database) { job, _ in
                if job.kind == "broken" { throw FatalJobError("not a table") }
                if job.attempt == 1 { throw Hiccup() }
                return JobResult()
            }.run()
            let jobs = try await Runs(queue.client).jobs()
            #expect(jobs.first { $0.id == flaky }?.state == "succeeded")
            #expect(jobs.first { $0.id == flaky }?.attempt == 2)
            #expect(jobs.first { $0.id == broken }?.state == "failed")
            #expect(jobs.first { $0.id == broken }?.error == "not a table")
        }
    }

    @Test func `a job that is to go on later keeps its checkpoint, and spends no attempt`()
        async throws
    {
        try await TestServers.withDatabase { database in
            struct Hiccup: Error {}
            let queue = Queue(Client(database))
            let id = try await queue.enqueue("x", maxAttempts: 2)
            let seen = Mutex<[String]>([])
            try await runner(database) { job, context in
                let place = seen.withLock { seen in
                    seen.append(job.checkpoint ?? "none")
                    return seen.count
                }
                // The pauses after errors begin anew with it, as the attempts do.
                if place == 2 || place == 4 { throw Hiccup() }
                context.checkpoint(#"{"looks": \#(place)}"#)
                return place < 6 ? .again(in: .milliseconds(50)) : JobResult()
            }.run()
            let job = try await Runs(queue.client).job(id)
            #expect(job.state == "succeeded" && job.attempt == 1)
            let looks = ["none", 1, 1, 3, 3, 5].map { $0 is Int ? #"{"looks": \#($0)}"# : "none" }
            #expect(seen.withLock { $0 } == looks)
            #expect(try await Runs(queue.client).attempts(of: id).map(\.attempt) == [1, 1])
        }
    }

    @Test func `a kernel on every slot does not keep the heartbeat from its time`() async throws {
        try await TestServers.withDatabase { database in
            let queue = Queue(Client(database))
            let slots = ProcessInfo.processInfo.activeProcessorCount
            for _ in 0..<slots { _ = try await queue.enqueue("x") }
            // Longer than the session would live without heartbeats.
            try await runner(database, slots: slots, ttl: .seconds(18)) { _, _ in
                let end = ContinuousClock.now + .seconds(19)
                while ContinuousClock.now < end {}
                return JobResult()
            }.run()
            let jobs = try await Runs(queue.client).jobs()
            #expect(jobs.allSatisfy { $0.state == "succeeded" && $0.attempt == 1 })
        }
    }

    @Test func `a drain gives back what does not finish in time, with the attempt refunded`()
        async throws
    {
        try await TestServers.withDatabase { database in
            let queue = Queue(Client(database))
            let id = try await queue.enqueue("long")
            let (started, signal) = AsyncStream<Void>.makeStream()
            let runner = runner(database, exitsWhenEmpty: false, grace: .milliseconds(100)) {
                _,
                context in
                signal.yield()
                while true {
                    try context.checkStop()
                    try await Task.sleep(for: .milliseconds(5))
                }
            }
            async let running: Void = runner.run()
            for await _ in started { break }
            await runner.drain()
            try await running
            let job = try #require(try await Runs(queue.client).jobs(ids: [id]).first)
            #expect(job.state == "ready" && job.attempt == 0)
        }
    }

    @Test func `a cancel reaches the work through the heartbeat`() async throws {
        try await TestServers.withDatabase { database in
            let queue = Queue(Client(database))
            let id = try await queue.enqueue("long")
            try await runner(database) { job, context in
                _ = try await queue.cancel([job.id])
                while true {
                    try context.checkStop()
                    try await Task.sleep(for: .milliseconds(5))
                }
            }.run()
            #expect(try await Runs(queue.client).jobs(ids: [id]).first?.state == "cancelled")
        }
    }

    @Test func `progress and metrics are in Postgres when the job has ended`() async throws {
        try await TestServers.withDatabase { database in
            let queue = Queue(Client(database))
            let run = try await Graph.start(
                feed: "f",
                pipeline: "{}",
                jobs: [NewJob(name: "a", kind: "x")],
                on: queue.client
            )
            let (reported, signal) = AsyncStream<Void>.makeStream()
            let runner = runner(database) { _, context in
                context.progress(0.5, "half")
                for step in 0..<10 { context.metric("loss", step: step, value: Double(step) / 2) }
                for await _ in reported { break }
                return JobResult()
            }
            async let running: Void = runner.run()
            var seen: Runs.JobRow?
            while seen?.fraction == nil {
                seen = try await Runs(queue.client).jobs(run: run).first
                try await Task.sleep(for: .milliseconds(10))
            }
            #expect(seen?.fraction == 0.5 && seen?.message == "half")
            signal.yield()
            try await running
            let sum = try await queue.client.query(
                "SELECT sum(value) AS s, count(*) AS n FROM larder.metrics WHERE run_id = $1::bigint AND name = 'loss'",
                [Parameter(run)]
            ) { row throws(PostgresError) in
                [try row.decode("s", Double.self), try row.decode("n", Double.self)]
            }
            #expect(sum == [[22.5, 10]])
        }
    }

    @Test func `connections killed all the time cost nothing but time`() async throws {
        try await TestServers.withDatabase { database in
            let queue = Queue(Client(database))
            for _ in 0..<100 { _ = try await queue.enqueue("x", maxAttempts: 100) }
            let done = Mutex<[Int: Int]>([:])
            let worker = runner(database, exitsWhenEmpty: false) { job, _ in
                done.withLock { $0[job.id, default: 0] += 1 }
                return JobResult()
            }
            let killer = Client(ConnectionSettings(try TestServers.postgres + " dbname=postgres"))
            let name = try await queue.client.query("SELECT current_database() AS n") {
                row throws(PostgresError) in try row.decode("n", String.self)
            }[0]
            async let running: Void = worker.run()
            let client = Client(ConnectionSettings(database.target))
            let watcher = Runs(client)
            // A worker that cannot open its first session says so and ends: kill from then on.
            while try await !Queue(client).hasWorkers() {
                try await Task.sleep(for: .milliseconds(10))
            }
            while true {
                try await killer.execute(
                    """
                    SELECT pg_terminate_backend(pid) FROM pg_stat_activity
                    WHERE datname = $1 AND random() < 0.3
                    """,
                    [Parameter(name)]
                )
                try await Task.sleep(for: .milliseconds(100))
                let finished = (try? await watcher.jobs(state: "succeeded", limit: 1000).count) ?? 0
                if finished == 100 { break }
            }
            await worker.drain()
            try await running
            #expect(done.withLock { $0.count } == 100)
        }
    }
}
