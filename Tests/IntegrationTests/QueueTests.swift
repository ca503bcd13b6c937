// SPDX-License-Identifier: Apache-2.0
import Foundation
import Postgres
import TestSupport
import Testing

@testable import Jobs

/// The queue's promises, each against a real server.
struct QueueTests {
    private func session(_ queue: Queue, ttl: Duration = .seconds(45)) async throws -> Session {
        let session = Session(id: UUID().uuidString.lowercased(), host: "test", pid: 1, slots: 1)
        try await queue.open(session, ttl: ttl)
        return session
    }

    private func withQueue(_ body: (Queue) async throws -> Void) async throws {
        try await TestServers.withDatabase { settings in try await body(Queue(Client(settings))) }
    }

    private func claim(_ queue: Queue, _ session: Session, _ count: Int = 1) async throws -> [Job] {
        try await queue.claim(count, from: "default", for: session)
    }

    private func state(_ queue: Queue, _ id: Int) async throws -> String? {
        try await Runs(queue.client).jobs(id: id).first?.state
    }

    /// Makes the database believe that a session's time is over.
    private func expire(_ session: Session, _ queue: Queue) async throws {
        try await queue.client.execute(
            "UPDATE larder.sessions SET expires_at = clock_timestamp() - interval '1 s' WHERE id = $1::uuid",
            [Parameter(session.id)]
        )
    }

    // MARK: claiming and finishing

    @Test func `a job is claimed once, by priority and then by age`() async throws {
        try await withQueue { queue in
            let late = try await queue.enqueue("x", priority: 200)
            let first = try await queue.enqueue("x")
            let urgent = try await queue.enqueue("x", args: #"{"a":1}"#, priority: 1)
            let session = try await session(queue)
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
                        let session = try await session(own)
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
            let session = try await session(queue)
            let job = try #require(try await claim(queue, session).first)
            let done = Queue.Ending.succeeded(JobResult(#"{"n":1}"#))
            #expect(try await queue.finish(job, done, by: session) == "succeeded")
            #expect(try await queue.finish(job, done, by: session) == nil)
            #expect(try await state(queue, id) == "succeeded")
        }
    }

    @Test func `a result of a lost lease is refused`() async throws {
        try await withQueue { queue in
            let id = try await queue.enqueue("x")
            let zombie = try await session(queue)
            let stale = try #require(try await claim(queue, zombie).first)
            try await expire(zombie, queue)
            #expect(try await queue.rescue().map(\.job) == [id])
            let heir = try await session(queue)
            let job = try #require(try await claim(queue, heir).first)
            #expect(job.id == id && job.attempt == 2 && job.lease > stale.lease)
            let done = Queue.Ending.succeeded(JobResult())
            #expect(try await queue.finish(stale, done, by: zombie) == nil)
            try await queue.release([stale.lease], by: zombie)
            #expect(try await state(queue, id) == "running")
            // Not even with the right number from the wrong session.
            #expect(try await queue.finish(job, done, by: zombie) == nil)
            #expect(try await queue.finish(job, done, by: heir) == "succeeded")
        }
    }

    @Test func `a failure is tried again later, until the attempts are spent`() async throws {
        try await withQueue { queue in
            let id = try await queue.enqueue("x", maxAttempts: 2)
            let session = try await session(queue)
            let first = try #require(try await claim(queue, session).first)
            #expect(
                try await queue.finish(first, .failed("no luck", retry: true), by: session)
                    == "retry"
            )
            #expect(try await state(queue, id) == "scheduled")
            try await queue.client.execute("UPDATE larder.jobs SET run_at = clock_timestamp()")
            #expect(try await queue.promote() == 1)
            let second = try #require(try await claim(queue, session).first)
            #expect(second.attempt == 2)
            #expect(
                try await queue.finish(second, .failed("again", retry: true), by: session)
                    == "failed"
            )
            #expect(try await Runs(queue.client).jobs(id: id).first?.error == "again")
        }
    }

    @Test func `the wait before a retry is random, and doubles at most`() async throws {
        try await withQueue { queue in
            for _ in 0..<60 { _ = try await queue.enqueue("x") }
            let session = try await session(queue)
            for job in try await claim(queue, session, 60) {
                _ = try await queue.finish(job, .failed("e", retry: true), by: session)
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
            let session = try await session(queue)
            let job = try #require(try await claim(queue, session).first)
            #expect(
                try await queue.finish(job, .failed("bad", retry: false), by: session) == "failed"
            )
            #expect(try await state(queue, id) == "failed")
        }
    }

    // MARK: sessions

    @Test func `a heartbeat renews, and a late one is refused`() async throws {
        try await withQueue { queue in
            let session = try await session(queue)
            func beat() async throws -> [Queue.Verdict] {
                try await queue.heartbeat(session, leases: [], ttl: .seconds(45), grace: .zero)
            }
            #expect(try await beat() == [])
            try await expire(session, queue)
            #expect(try await beat() == [.sessionLost])
            _ = try await queue.enqueue("x")
            #expect(try await claim(queue, session).isEmpty)
        }
    }

    @Test func `a claim whose reply was lost comes back with its attempt refunded`() async throws {
        try await withQueue { queue in
            let id = try await queue.enqueue("x")
            let session = try await session(queue)
            _ = try await claim(queue, session)
            let verdicts = try await queue.heartbeat(
                session,
                leases: [],
                ttl: .seconds(45),
                grace: .zero
            )
            #expect(verdicts == [.requeued(job: id)])
            #expect(try await claim(queue, session).first?.attempt == 1)
        }
    }

    @Test func `a heartbeat tells what was cancelled and what was taken away`() async throws {
        try await withQueue { queue in
            _ = try await queue.enqueue("x")
            _ = try await queue.enqueue("x")
            let session = try await session(queue)
            let jobs = try await claim(queue, session, 2)
            _ = try await queue.cancel([jobs[0].id])
            let verdicts = try await queue.heartbeat(
                session,
                leases: jobs.map(\.lease) + [999_999],
                ttl: .seconds(45),
                grace: .zero
            )
            #expect(
                Set(verdicts.map { "\($0)" })
                    == Set([
                        "\(Queue.Verdict.cancelled(lease: jobs[0].lease))",
                        "\(Queue.Verdict.revoked(lease: 999_999))",
                    ])
            )
            #expect(
                try await queue.finish(jobs[0], .failed("stopped", retry: true), by: session)
                    == "cancelled"
            )
        }
    }

    @Test func `a job past its deadline is taken from a healthy worker`() async throws {
        try await withQueue { queue in
            let id = try await queue.enqueue("x", timeout: .milliseconds(1))
            let session = try await session(queue)
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
            let session = try await session(queue)
            _ = try await claim(queue, session)
            try await queue.close(session)
            #expect(try await queue.rescue().map(\.spent) == [true])
            #expect(try await state(queue, id) == "failed")
        }
    }

    @Test func `a job given back keeps its attempts`() async throws {
        try await withQueue { queue in
            _ = try await queue.enqueue("x")
            let session = try await session(queue)
            let job = try #require(try await claim(queue, session).first)
            try await queue.release([job.lease], by: session)
            #expect(try await claim(queue, session).first?.attempt == 1)
        }
    }

    @Test func `a cancelled job is not given back, and not forgotten`() async throws {
        try await withQueue { queue in
            let id = try await queue.enqueue("x")
            let lost = try await queue.enqueue("x")
            let session = try await session(queue)
            let jobs = try await claim(queue, session, 2)
            _ = try await queue.cancel([id, lost])
            let job = try #require(jobs.first { $0.id == id })
            #expect(try await queue.release([job.lease], by: session) == 0)
            #expect(
                try await queue.finish(job, .failed("stopped", retry: true), by: session)
                    == "cancelled"
            )
            // The other one's worker never heard of it.
            _ = try await queue.heartbeat(session, leases: [], ttl: .seconds(45), grace: .zero)
            #expect(try await queue.rescue().map(\.spent) == [true])
            #expect(try await state(queue, lost) == "cancelled")
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
            #expect(try await queue.isEmpty("default"))
            _ = try await queue.enqueue("x")
            #expect(try await backlog() == 1)
            let session = try await session(queue)
            _ = try await claim(queue, session)
            #expect(try await backlog() == 0)
            try await expire(session, queue)
            #expect(try await backlog() == 1)
            #expect(try await !queue.isEmpty("default"))
        }
    }

    @Test func `a paused queue gives nothing`() async throws {
        try await withQueue { queue in
            _ = try await queue.enqueue("x")
            try await queue.client.execute("UPDATE larder.queues SET paused_at = clock_timestamp()")
            #expect(try await claim(queue, session(queue)).isEmpty)
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
            let session = try await session(queue)
            let job = try #require(try await claim(queue, session).first)
            #expect(try await queue.enqueue("x", dedupKey: "k") == id)
            _ = try await queue.finish(job, .failed("e", retry: true), by: session)
            #expect(try await queue.enqueue("x", dedupKey: "k") == id)
            _ = try await queue.cancel([id])
            #expect(try await queue.enqueue("x", dedupKey: "k") != id)
        }
    }

    @Test func `a delayed job is not taken before its time`() async throws {
        try await withQueue { queue in
            _ = try await queue.enqueue("x", delay: .seconds(3600))
            #expect(try await queue.promote() == 0)
            #expect(try await claim(queue, session(queue)).isEmpty)
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
