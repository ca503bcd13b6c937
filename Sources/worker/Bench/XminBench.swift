// SPDX-License-Identifier: Apache-2.0
import Foundation
import Jobs
import Postgres
import Synchronization

/// A steady load of 800 jobs/s while another session holds a REPEATABLE READ transaction open,
/// so that no dead row can be removed: one minute before, three during, one after.
struct XminBench {
    let database: ConnectionSettings
    let queueName: String

    private struct Counts {
        var finished = 0
        var claims: [Double] = []
        var isOver = false
    }

    private final class Tally: Sendable {
        let counts = Mutex(Counts())
        var isOver: Bool { counts.withLock { $0.isOver } }
    }

    func measure() async throws -> [Measurement] {
        let tally = Tally()
        try await Client(database).execute("TRUNCATE larder.jobs, larder.archive")
        return try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask { try await produce(tally) }
            for _ in 0..<2 {
                group.addTask { try await consume(tally) }
            }
            var measurements: [Measurement] = []
            func phase(_ name: String, _ length: Duration) async throws {
                tally.counts.withLock { $0 = Counts() }
                try await Task.sleep(for: length)
                let seen = tally.counts.withLock { $0 }
                let claims = seen.claims.sorted()
                let dead = try await Client(database).query(
                    """
                    SELECT n_dead_tup AS n, pg_table_size('larder.jobs') AS bytes
                    FROM pg_stat_user_tables WHERE schemaname = 'larder' AND relname = 'jobs'
                    """
                ) { row throws(PostgresError) in
                    (try row.decode("n", Double.self), try row.decode("bytes", Double.self))
                }[0]
                let p99 = claims.isEmpty ? .nan : claims[claims.count * 99 / 100]
                measurements += [
                    Measurement(
                        what: "\(name): finished",
                        value: Double(seen.finished) / (length / .seconds(1)),
                        unit: "jobs/s"
                    ),
                    Measurement(what: "\(name): claim p99", value: p99, unit: "ms"),
                    Measurement(what: "\(name): dead rows at its end", value: dead.0, unit: "rows"),
                    Measurement(
                        what: "\(name): size of the table",
                        value: dead.1 / 1_048_576,
                        unit: "MiB"
                    ),
                ]
            }
            try await phase("before", .seconds(60))
            let holder = try Connection(database)
            _ = try holder.execute("SET idle_in_transaction_session_timeout = 0")
            _ = try holder.execute("BEGIN ISOLATION LEVEL REPEATABLE READ")
            _ = try holder.execute("SELECT count(*) FROM larder.jobs")
            try await phase("held, first minute", .seconds(60))
            try await phase("held, second minute", .seconds(60))
            try await phase("held, third minute", .seconds(60))
            _ = try holder.execute("COMMIT")
            try await phase("after", .seconds(60))
            tally.counts.withLock { $0.isOver = true }
            try await group.waitForAll()
            return measurements
        }
    }

    /// Eight batches of a hundred a second.
    private func produce(_ tally: Tally) async throws {
        let queue = Queue(Client(database))
        let hundred = QueueBench.jobs(100)
        var next = ContinuousClock.now
        while !tally.isOver {
            _ = try await queue.enqueueMany(hundred)
            next += .milliseconds(125)
            try await Task.sleep(until: next, clock: .continuous)
        }
    }

    private func consume(_ tally: Tally) async throws {
        let queue = Queue(Client(database))
        let session = Session(
            id: UUID().uuidString.lowercased(),
            host: "bench",
            pid: 1,
            slots: 1
        )
        try await queue.open(session, ttl: .seconds(3600))
        var plan = ClaimPlan(slots: 50)
        while !tally.isOver {
            let sent = ContinuousClock.now
            let jobs = try await queue.claim(
                50,
                from: queueName,
                for: session,
                after: plan.watermark
            )
            let took = ContinuousClock.now - sent
            plan.claimed(jobs.map(\.place), behind: plan.watermark, in: took)
            tally.counts.withLock { $0.claims.append(took / .milliseconds(1)) }
            if jobs.isEmpty {
                try await Task.sleep(for: .milliseconds(20))
                continue
            }
            _ = try await queue.finish(jobs.map { ($0, .succeeded(JobResult())) }, by: session)
            tally.counts.withLock { $0.finished += jobs.count }
        }
        try await queue.close(session)
    }
}
