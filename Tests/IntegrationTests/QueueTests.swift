// SPDX-License-Identifier: Apache-2.0
import Foundation
import Postgres
import TestSupport
import Testing

@testable import Jobs

/// The queue's promises, each against a real server.
@Suite(.timeLimit(Effort.limit)) struct QueueTests {
    private func withQueue(_ body: (Queue) async throws -> Void) async throws {
        try await TestServers.withDatabase { settings in try await body(Queue(Client(settings))) }
    }

    private func claim(_ queue: Queue, _ session: Session, _ count: Int = 1) async throws -> [Job] {
        try await queue.claim(count, from: "default", for: session)
    }

    // MARK: claiming and finishing

    @Test func `a job is claimed once, by priority and then by age`() async throws {
        try await withQueue { queue in
            let late = try await queue.enqueue("x", priority: 200)
            let first = try await queue.enqueue("x")
            let urgent = try await queue.enqueue("x", args: #"{"a":1}"#, priority: 1)
            let session = try await queue.openSession()
            let jobs = try await claim(queue, session, 2)
            #expect(Set(jobs.map(\.id)) == [urgent, first])
            #expect(jobs.first { $0.id == urgent }?.args == #"{"a": 1}"#)
            #expect(jobs.allSatisfy { $0.attempt == 1 })
            #expect(try await claim(queue, session, 5).map(\.id) == [late])
            #expect(try await claim(queue, session, 5).isEmpty)
        }
    }

    @Test func `eight workers on one queue never get the same job`() async throws {
        try await TestServers.withDatabase { settings in
            let queue = Queue(Client(settings))
            for _ in 0..<200 { _ = try await queue.enqueue("x") }
            let claimed = try await withThrowingTaskGroup(of: [Int].self) { group in
                for _ in 0..<8 {
                    group.addTask {
                        let own = Queue(Client(settings))
                        let session = try await own.openSession()
                        var ids: [Int] = []
                        while case let jobs = try await claim(own, session, 7), !jobs.isEmpty {
                            ids += jobs.map(\.id)
                        }
                        return ids
                    }
                }
                return try await group.reduce(into: []) { $0 += $1 }
            }
            #expect(claimed.count == 200)
            #expect(Set(claimed).count == 200)
        }
    }

    @Test func `a finished job is archived with its result, and only once`() async throws {
        try await withQueue { queue in
            let id = try await queue.enqueue("x")
            let session = try await queue.openSession()
            let job = try #require(try await claim(queue, session).first)
            let done = Queue.Ending.succeeded(JobResult(#"{"n":1}"#))
            #expect(try await queue.finish(job, done, by: session) == "succeeded")
            #expect(try await queue.finish(job, done, by: session) == nil)
            #expect(try await queue.state(of: id) == "succeeded")
        }
    }

    @Test func `a result of a lost lease is refused`() async throws {
        try await withQueue { queue in
            let id = try await queue.enqueue("x")
            let zombie = try await queue.openSession()
            let stale = try #require(try await claim(queue, zombie).first)
            try await queue.expire(zombie)
            #expect(try await queue.rescue().map(\.job) == [id])
            let heir = try await queue.openSession()
            let job = try #require(try await claim(queue, heir).first)
            #expect(job.id == id && job.attempt == 2 && job.lease > stale.lease)
            let done = Queue.Ending.succeeded(JobResult())
            #expect(try await queue.finish(stale, done, by: zombie) == nil)
            try await queue.release([stale.lease], by: zombie)
            #expect(try await queue.state(of: id) == "running")
            // Not even with the right number from the wrong session.
            #expect(try await queue.finish(job, done, by: zombie) == nil)
            #expect(try await queue.finish(job, done, by: heir) == "succeeded")
        }
    }

    @Test func `a failure is tried again later, until the attempts are spent`() async throws {
        try await withQueue { queue in
            let id = try await queue.enqueue("x", maxAttempts: 2)
            let session = try await queue.openSession()
            let first = try #require(try await claim(queue, session).first)
            #expect(
                try await queue.finish(first, .failed("no luck", .retryable), by: session)
                    == "retry"
            )
            #expect(try await queue.state(of: id) == "scheduled")
            try await queue.client.execute("UPDATE larder.jobs SET run_at = clock_timestamp()")
            #expect(try await queue.promote() == 1)
            let second = try #require(try await claim(queue, session).first)
            #expect(second.attempt == 2)
            #expect(
                try await queue.finish(second, .failed("again", .retryable), by: session)
                    == "failed"
            )
            #expect(try await Runs(queue.client).jobs(ids: [id]).first?.error == "again")
        }
    }

    @Test func `the wait before a retry is random, and doubles at most`() async throws {
        try await withQueue { queue in
            for _ in 0..<60 { _ = try await queue.enqueue("x") }
            let session = try await queue.openSession()
            for job in try await claim(queue, session, 60) {
                _ = try await queue.finish(job, .failed("e", .retryable), by: session)
            }
            let waits = try await queue.client.query(
                "SELECT extract(epoch FROM run_at - clock_timestamp()) AS wait FROM larder.jobs"
            ) { row throws(PostgresError) in try row.decode("wait", Double.self) }
            #expect(waits.count == 60)
            #expect(waits.allSatisfy { $0 <= 2 })
            #expect((waits.max() ?? 0) - (waits.min() ?? 0) > 1)
        }
    }

    @Test func `a fatal failure is not tried again`() async throws {
        try await withQueue { queue in
            let id = try await queue.enqueue("x")
            let session = try await queue.openSession()
            let job = try #require(try await claim(queue, session).first)
            #expect(
                try await queue.finish(job, .failed("bad", .fatal), by: session) == "failed"
            )
            #expect(try await queue.state(of: id) == "failed")
        }
    }

    // MARK: sessions

    @Test func `a heartbeat renews, and a late one is refused`() async throws {
        try await withQueue { queue in
            let session = try await queue.openSession()
            func beat() async throws -> [Queue.Verdict] {
                try await queue.beat(session)
            }
            #expect(try await beat() == [])
            try await queue.expire(session)
            #expect(try await beat() == [.sessionLost])
            _ = try await queue.enqueue("x")
            #expect(try await claim(queue, session).isEmpty)
        }
    }

    @Test func `a claim whose reply was lost comes back with its attempt refunded`() async throws {
        try await withQueue { queue in
            let id = try await queue.enqueue("x")
            let session = try await queue.openSession()
            _ = try await claim(queue, session)
            #expect(try await queue.beat(session) == [.requeued(job: id)])
            #expect(try await claim(queue, session).first?.attempt == 1)
        }
    }

    @Test func `a claim made while the heartbeat was on its way is not taken for lost`()
        async throws
    {
        try await withQueue { queue in
            let id = try await queue.enqueue("x")
            let session = try await queue.openSession()
            func beat(_ time: Int?) async throws -> [Queue.Verdict] {
                try await queue.heartbeat(
                    session,
                    leases: [],
                    ttl: .seconds(45),
                    knownBefore: time
                )
            }
            guard case .clock(let gathered)? = try await beat(nil).first else {
                Issue.record("a heartbeat tells the time")
                return
            }
            _ = try await claim(queue, session)
            // What the worker held when it looked was nothing; the claim came after.
            guard case .clock(let later)? = try await beat(gathered).first else { return }
            #expect(try await queue.state(of: id) == "running")
            #expect(try await beat(later).contains(.requeued(job: id)))
        }
    }

    @Test func `a heartbeat tells what was cancelled and what was taken away`() async throws {
        try await withQueue { queue in
            _ = try await queue.enqueue("x")
            _ = try await queue.enqueue("x")
            let session = try await queue.openSession()
            let jobs = try await claim(queue, session, 2)
            _ = try await queue.cancel([jobs[0].id])
            let verdicts = try await queue.beat(
                session,
                leases: jobs.map(\.lease) + [999_999]
            )
            #expect(
                Set(verdicts.map { "\($0)" })
                    == Set([
                        "\(Queue.Verdict.cancelled(lease: jobs[0].lease))",
                        "\(Queue.Verdict.revoked(lease: 999_999))",
                    ])
            )
            #expect(
                try await queue.finish(jobs[0], .failed("stopped", .retryable), by: session)
                    == "cancelled"
            )
        }
    }

    @Test func `a job past its deadline is taken from a healthy worker`() async throws {
        try await withQueue { queue in
            let id = try await queue.enqueue("x", timeout: .milliseconds(1))
            let session = try await queue.openSession()
            let job = try #require(try await claim(queue, session).first)
            try await Task.sleep(for: .milliseconds(5))
            let rescued = try await queue.rescue()
            #expect(rescued.map(\.job) == [id])
            #expect(rescued.first?.reason.contains("timeout") == true)
            #expect(try await queue.finish(job, .succeeded(JobResult()), by: session) == nil)
        }
    }

    @Test func `a job whose session row is gone is rescued too`() async throws {
        try await withQueue { queue in
            let id = try await queue.enqueue("x", maxAttempts: 1)
            let session = try await queue.openSession()
            _ = try await claim(queue, session)
            try await queue.close(session)
            #expect(try await queue.rescue().map(\.spent) == [true])
            #expect(try await queue.state(of: id) == "failed")
        }
    }

    @Test func `a job given back keeps its attempts`() async throws {
        try await withQueue { queue in
            _ = try await queue.enqueue("x")
            let session = try await queue.openSession()
            let job = try #require(try await claim(queue, session).first)
            try await queue.release([job.lease], by: session)
            #expect(try await claim(queue, session).first?.attempt == 1)
        }
    }

    @Test func `a cancelled job is not given back, and not forgotten`() async throws {
        try await withQueue { queue in
            let id = try await queue.enqueue("x")
            let lost = try await queue.enqueue("x")
            let session = try await queue.openSession()
            let jobs = try await claim(queue, session, 2)
            _ = try await queue.cancel([id, lost])
            let job = try #require(jobs.first { $0.id == id })
            #expect(try await queue.release([job.lease], by: session).isEmpty)
            #expect(
                try await queue.finish(job, .failed("stopped", .retryable), by: session)
                    == "cancelled"
            )
            // The other one's worker never heard of it.
            for _ in 0..<3 { _ = try await queue.beat(session) }
            #expect(
                try await queue.number(
                    "SELECT attempt AS n FROM larder.jobs WHERE id = $1::bigint",
                    [Parameter(lost)]
                ) == 0
            )
            #expect(try await queue.rescue().map(\.spent) == [true])
            #expect(try await queue.state(of: lost) == "cancelled")
        }
    }

    @Test func `the backlog counts what a worker that starts now would find`() async throws {
        try await withQueue { queue in
            func backlog() async throws -> Int {
                try await queue.client.query("SELECT larder.backlog('default') AS n") {
                    row throws(PostgresError) in try row.decode("n", Int.self)
                }[0]
            }
            _ = try await queue.enqueue("later", delay: .seconds(7200))
            #expect(try await backlog() == 0)
            #expect(try await queue.isEmpty("default", for: queue.openSession()))
            _ = try await queue.enqueue("x")
            #expect(try await backlog() == 1)
            let session = try await queue.openSession()
            _ = try await claim(queue, session)
            #expect(try await backlog() == 0)
            try await queue.expire(session)
            #expect(try await backlog() == 1)
            #expect(try await !queue.isEmpty("default", for: queue.openSession()))
        }
    }

    @Test func `a paused queue gives nothing`() async throws {
        try await withQueue { queue in
            _ = try await queue.enqueue("x")
            try await queue.client.execute("UPDATE larder.queues SET paused_at = clock_timestamp()")
            #expect(try await claim(queue, queue.openSession()).isEmpty)
            let backlog = try await queue.client.query("SELECT larder.backlog('default') AS n") {
                row throws(PostgresError) in try row.decode("n", Int.self)
            }
            #expect(backlog == [0])
        }
    }

    @Test func `a name is alive once, through running and retry, and free afterwards`() async throws
    {
        try await withQueue { queue in
            let id = try await queue.enqueue("x", dedupKey: "k")
            #expect(try await queue.enqueue("x", dedupKey: "k") == id)
            let session = try await queue.openSession()
            let job = try #require(try await claim(queue, session).first)
            #expect(try await queue.enqueue("x", dedupKey: "k") == id)
            _ = try await queue.finish(job, .failed("e", .retryable), by: session)
            #expect(try await queue.enqueue("x", dedupKey: "k") == id)
            _ = try await queue.cancel([id])
            #expect(try await queue.enqueue("x", dedupKey: "k") != id)
        }
    }

    @Test func `a delayed job is not taken before its time`() async throws {
        try await withQueue { queue in
            _ = try await queue.enqueue("x", delay: .seconds(3600))
            #expect(try await queue.promote() == 0)
            #expect(try await claim(queue, queue.openSession()).isEmpty)
        }
    }

    @Test func `SQL enqueues in the caller's own transaction`() async throws {
        try await withQueue { queue in
            await #expect(throws: PostgresError.self) {
                try await queue.client.transaction { connection throws(PostgresError) in
                    _ = try connection.execute("SELECT larder.enqueue('x', '{\"a\": 1}')")
                    _ = try connection.execute("SELECT 1/0")
                }
            }
            #expect(try await Runs(queue.client).jobs().isEmpty)
            try await queue.client.execute("SELECT larder.enqueue('x', queue => 'other')")
            #expect(try await Runs(queue.client).jobs().map(\.queue) == ["other"])
        }
    }
}
