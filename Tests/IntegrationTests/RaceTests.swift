// SPDX-License-Identifier: Apache-2.0
import Glibc
import Postgres
import Synchronization
import TestSupport
import Testing

@testable import Jobs

/// Many hands on the same rows.
@Suite(.timeLimit(Effort.limit)) struct RaceTests {
    @Test func `cancels, finishes, rescues, promotions and sweeps at once leave order`()
        async throws
    {
        try await TestServers.withDatabase { settings in
            let seconds = Effort.scaled(5, long: 90)
            let end = ContinuousClock.now + .seconds(seconds)
            let queue = Queue(Client(settings))
            try await withThrowingTaskGroup(of: Void.self) { group in
                group.addTask {
                    // Runs of ten with edges both ways of the diamond, and a fan-out.
                    var number = 0
                    while ContinuousClock.now < end {
                        number += 1
                        var jobs = [NewJob(name: "0", kind: "fan", maxAttempts: 2)]
                        for place in 1..<8 {
                            jobs.append(
                                NewJob(
                                    name: "\(place)",
                                    kind: "k",
                                    after: place.isMultiple(of: 2) ? ["\(place / 2)"] : [],
                                    afterEndOf: place.isMultiple(of: 2) ? [] : ["\(place / 2)"],
                                    maxAttempts: 2
                                )
                            )
                        }
                        jobs.append(NewJob(name: "join", kind: "k", after: ["0"], joinsGroup: true))
                        _ = try await Graph.start(
                            feed: "f\(number)",
                            pipeline: "{}",
                            jobs: jobs,
                            on: queue.client
                        )
                        try await Task.sleep(for: .milliseconds(10))
                    }
                }
                for _ in 0..<4 { group.addTask { try await self.work(settings, until: end) } }
                group.addTask {
                    let own = Queue(Client(settings))
                    while ContinuousClock.now < end {
                        try await own.client.execute(
                            """
                            SELECT larder.cancel_run(id) FROM (
                                SELECT id FROM larder.runs ORDER BY random() LIMIT 1) r
                            """
                        )
                        try await own.client.execute(
                            """
                            SELECT larder.cancel(ARRAY(SELECT id FROM larder.jobs
                                                       WHERE random() < 0.02 ORDER BY random()))
                            """
                        )
                        try await Task.sleep(for: .milliseconds(20))
                    }
                }
                for _ in 0..<2 {
                    group.addTask {
                        let own = Queue(Client(settings))
                        while ContinuousClock.now < end {
                            try await own.client.execute(
                                """
                                UPDATE larder.jobs SET run_at = clock_timestamp()
                                WHERE id IN (SELECT id FROM larder.jobs WHERE state = 'scheduled'
                                             FOR UPDATE SKIP LOCKED)
                                """
                            )
                            _ = try await own.promote()
                            _ = try await own.rescue()
                            try await own.closeGroups()
                            try await own.cascade()
                        }
                    }
                }
                try await group.waitForAll()
            }
            // Then everything comes to an end.
            try await queue.client.execute("DELETE FROM larder.sessions")
            let session = try await queue.openSession()
            try await waitUntil("nothing is alive") {
                try await queue.client.execute(
                    "UPDATE larder.jobs SET run_at = clock_timestamp() WHERE state = 'scheduled'"
                )
                _ = try await queue.promote()
                _ = try await queue.rescue()
                _ = try await queue.client.execute(
                    "UPDATE larder.jobs SET quarantined = false WHERE quarantined"
                )
                let jobs = try await queue.claim(500, from: "default", for: session)
                _ = try await queue.finish(jobs.map { ($0, .failed("end", .fatal)) }, by: session)
                try await queue.closeGroups()
                try await queue.cascade()
                return try await queue.number("SELECT count(*) AS n FROM larder.jobs") == 0
            }
            #expect(
                try await queue.number(
                    "SELECT count(*) - count(DISTINCT id) AS n FROM larder.archive"
                ) == 0
            )
            #expect(
                try await queue.number(
                    "SELECT count(*) AS n FROM larder.groups WHERE state = 'open'"
                ) == 0
            )
            // No job started although one that it needed had not succeeded.
            #expect(
                try await queue.number(
                    """
                    SELECT count(*) AS n FROM larder.dependencies d
                    JOIN larder.archive c ON c.id = d.child_id AND c.started_at IS NOT NULL
                    JOIN larder.archive p ON p.id = d.parent_id
                    WHERE d.on_fail = 'cancel' AND p.state <> 'succeeded'
                    """
                ) == 0
            )
        }
    }

    /// A worker that fails, gives back, loses and finishes jobs at random.
    private func work(
        _ settings: ConnectionSettings,
        until end: ContinuousClock.Instant
    ) async throws {
        let queue = Queue(Client(settings))
        var session = try await queue.openSession(ttl: .milliseconds(400))
        while ContinuousClock.now < end {
            let verdicts = try await queue.beat(session, ttl: .milliseconds(400))
            if verdicts.contains(.sessionLost) || Int.random(in: 0..<20) == 0 {
                session = try await queue.openSession(ttl: .milliseconds(400))
            }
            for job in try await queue.claim(Int.random(in: 1...8), from: "default", for: session) {
                switch Int.random(in: 0..<10) {
                case 0: continue
                case 1: try await queue.release([job.lease], by: session)
                case 2: _ = try await queue.finish(job, .failed("e", .retryable), by: session)
                case 3: _ = try await queue.finish(job, .failed("e", .fatal), by: session)
                default:
                    let fan = FanOut(
                        (0..<3).map { NewJob(name: "part \($0)", kind: "k", maxAttempts: 2) },
                        join: "join",
                        policy: .atLeast(2)
                    )
                    let result = JobResult(fanOut: job.kind == "fan" ? fan : nil)
                    do {
                        _ = try await queue.finish(job, .succeeded(result), by: session)
                    } catch JobsError.postgres(let error, _) where error.isJoinGone {
                        _ = try await queue.finish(job, .failed("no join", .fatal), by: session)
                    }
                }
            }
        }
    }

    @Test func `a great group closes once, though finishers die before closing it`() async throws {
        try await TestServers.withDatabase { settings in
            let count = Effort.scaled(5000, long: 100_000)
            let queue = Queue(Client(settings))
            let session = try await queue.openSession(ttl: .seconds(600))
            let run = try await Graph.start(
                feed: "f",
                pipeline: "{}",
                jobs: [
                    NewJob(name: "split", kind: "k"),
                    NewJob(name: "join", kind: "k", after: ["split"], joinsGroup: true),
                ],
                on: queue.client
            )
            let split = try #require(
                try await queue.claim(1, from: "default", for: session).first
            )
            let parts = (0..<count).map { NewJob(name: "part \($0)", kind: "k") }
            _ = try await queue.finish(
                [(split, .succeeded(JobResult(fanOut: FanOut(parts, join: "join"))))],
                by: session
            )
            let closed = try await withThrowingTaskGroup(of: Int.self) { group in
                for _ in 0..<64 {
                    group.addTask {
                        let own = Queue(Client(settings))
                        let session = try await own.openSession(ttl: .seconds(600))
                        var closed = 0
                        while case let jobs = try await own.claim(
                            Int.random(in: 5...60),
                            from: "default",
                            for: session
                        ), !jobs.isEmpty {
                            let parts = jobs.filter { $0.name != "join" }
                            if parts.isEmpty {
                                try await own.release(jobs.map(\.lease), by: session)
                                return closed
                            }
                            _ = try await own.finish(
                                parts.map { ($0, .succeeded(JobResult())) },
                                by: session
                            )
                            // One in a hundred dies between its commit and the closing.
                            if Int.random(in: 0..<100) == 0 { return closed }
                            closed += try await own.number(
                                "SELECT larder.close_group($1::bigint)::int AS n",
                                [Parameter(parts[0].groupID)]
                            )
                        }
                        return closed
                    }
                }
                group.addTask {
                    let own = Queue(Client(settings))
                    var closed = 0
                    while try await own.number(
                        "SELECT count(*) AS n FROM larder.groups WHERE state = 'open'"
                    ) == 1 {
                        closed += try await own.number("SELECT larder.close_groups() AS n")
                        try await Task.sleep(for: .milliseconds(100))
                    }
                    return closed
                }
                return try await group.reduce(0, +)
            }
            #expect(closed == 1)
            #expect(
                try await queue.number(
                    "SELECT done AS n FROM larder.groups WHERE state = 'closed' AND failed = 0"
                ) == count
            )
            let join = try await Runs(queue.client).jobs(run: run, limit: count + 2)
                .first { $0.name == "join" }
            #expect(join?.state == "ready")
        }
    }
}
