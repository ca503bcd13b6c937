// SPDX-License-Identifier: Apache-2.0
import Foundation
import Postgres
import TestSupport
import Testing

@testable import Jobs

/// Who may run what, when, how many at a time, and how often.
@Suite(.timeLimit(Effort.limit)) struct QueueLimitsTests {
    private func withQueue(_ body: (Queue) async throws -> Void) async throws {
        try await TestServers.withDatabase { settings in try await body(Queue(Client(settings))) }
    }

    private func claim(
        _ queue: Queue,
        _ session: Session,
        _ count: Int = 100,
        alone: Bool = false
    ) async throws -> [Job] {
        try await queue.claim(count, from: "default", for: session, alone: alone)
    }

    // MARK: enqueue

    @Test func `fifty callers with one name make one job`() async throws {
        try await TestServers.withDatabase { settings in
            let ids = try await withThrowingTaskGroup(of: [Int].self) { group in
                for _ in 0..<50 {
                    group.addTask {
                        let queue = Queue(Client(settings))
                        return [
                            try await queue.enqueue("x", dedupKey: "d"),
                            try await queue.enqueue("x", idempotencyKey: "i"),
                        ]
                    }
                }
                return try await group.reduce(into: [[Int]]()) { $0.append($1) }
            }
            #expect(ids.count == 50)
            #expect(Set(ids.map(\.[0])).count == 1)
            #expect(Set(ids.map(\.[1])).count == 1)
            let queue = Queue(Client(settings))
            #expect(try await queue.number("SELECT count(*) AS n FROM larder.jobs") == 2)
        }
    }

    @Test func `an idempotency key outlives its job, a dedup key does not`() async throws {
        try await withQueue { queue in
            let session = try await queue.openSession()
            let id = try await queue.enqueue("x", dedupKey: "d", idempotencyKey: "i")
            let job = try #require(try await claim(queue, session).first)
            _ = try await queue.finish(job, .succeeded(JobResult()), by: session)
            #expect(try await queue.enqueue("x", idempotencyKey: "i") == id)
            #expect(try await queue.enqueue("x", dedupKey: "d") != id)
            try await queue.client.execute(
                "UPDATE larder.idempotency SET expires_at = clock_timestamp() - interval '1 s'"
            )
            #expect(try await queue.enqueue("x", idempotencyKey: "i") != id)
        }
    }

    @Test func `a caller that finds its name alive does not hold up the worker`() async throws {
        try await TestServers.withDatabase { settings in
            let queue = Queue(Client(settings))
            let id = try await queue.enqueue("x", dedupKey: "d")
            let session = try await queue.openSession()
            let job = try #require(try await claim(queue, session).first)
            let caller = try Connection(settings)
            _ = try caller.execute("BEGIN")
            _ = try caller.execute("SELECT larder.enqueue('x', dedup_key => 'd')")
            #expect(
                try await queue.finish(job, .succeeded(JobResult()), by: session) == "succeeded"
            )
            _ = try caller.execute("COMMIT")
            #expect(try await queue.state(of: id) == "succeeded")
        }
    }

    @Test func `an enqueue that is rolled back leaves its key free`() async throws {
        try await withQueue { queue in
            await #expect(throws: PostgresError.self) {
                try await queue.client.transaction { connection throws(PostgresError) in
                    _ = try connection.execute("SELECT larder.enqueue('x', idempotency_key => 'i')")
                    _ = try connection.execute("SELECT 1/0")
                }
            }
            _ = try await queue.enqueue("x", idempotencyKey: "i")
            #expect(try await queue.number("SELECT count(*) AS n FROM larder.jobs") == 1)
        }
    }

    @Test func `many jobs are added all or none, with ids in order`() async throws {
        try await withQueue { queue in
            let ids = try await queue.enqueueMany(
                """
                [{"kind":"a","priority":5}, {"kind":"b","queue":"other","args":{"n":1}},
                 {"kind":"c","run_at":"2040-01-01T00:00:00Z"}]
                """
            )
            let jobs = try await Runs(queue.client).jobs().sorted { $0.id < $1.id }
            #expect(jobs.map(\.id) == ids)
            #expect(jobs.map(\.kind) == ["a", "b", "c"])
            #expect(jobs.map(\.queue) == ["default", "other", "default"])
            #expect(jobs.map(\.state) == ["ready", "ready", "scheduled"])
            let named = try await queue.enqueueMany(
                #"[{"kind":"z","dedup_key":"k2"},{"kind":"y","dedup_key":"k1"},{"kind":"x","dedup_key":"k2"}]"#
            )
            #expect(named[0] == named[2] && named[1] != named[0])
            for (wrong, words) in [
                (#"{"kind":"x"}"#, "JSON array"),
                (#"[{"kind":"x","prio":1}]"#, "unknown key \"prio\""),
                (#"[{"kind":"x"},{"args":{}}]"#, "job 2 has no kind"),
                (#"[{"kind":"x","args":[]}]"#, "args that are not an object"),
            ] {
                let error = await #expect(throws: JobsError.self) {
                    try await queue.enqueueMany(wrong)
                }
                #expect(error?.description.contains(words) == true)
            }
            #expect(try await queue.number("SELECT count(*) AS n FROM larder.jobs") == 5)
        }
    }

    @Test func `args that are no object are refused with the reason`() async throws {
        try await withQueue { queue in
            let error = await #expect(throws: JobsError.self) {
                try await queue.enqueue("x", args: "[1]")
            }
            #expect(error?.description.contains("args of a x job are array") == true)
        }
    }

    @Test func `a kind has limits of its own unless the caller says otherwise`() async throws {
        try await withQueue { queue in
            try await queue.client.execute(
                """
                INSERT INTO larder.kinds (name, max_attempts, timeout, stall_after)
                VALUES ('slow', 2, '3 h', '5 min')
                """
            )
            _ = try await queue.enqueue("slow")
            _ = try await queue.enqueue("slow", maxAttempts: 9)
            _ = try await queue.enqueueMany(#"[{"kind":"slow"},{"kind":"other"}]"#)
            let session = try await queue.openSession()
            let jobs = try await claim(queue, session)
            #expect(jobs.map(\.maxAttempts) == [2, 9, 2, 5])
            #expect(jobs.map(\.stallAfter) == [.seconds(300), .seconds(300), .seconds(300), nil])
            #expect(
                try await queue.number(
                    "SELECT count(*) AS n FROM larder.jobs WHERE deadline_at - started_at > '2 h'"
                ) == 3
            )
        }
    }

    @Test func `forty thousand jobs use up no numbers of queues`() async throws {
        try await withQueue { queue in
            // Version 1 drew one for each, and a smallint has 32,767.
            try await queue.client.execute(
                "SELECT larder.enqueue('x') FROM generate_series(1, 1000)"
            )
            #expect(
                try await queue.number(
                    "SELECT last_value AS n FROM pg_sequences WHERE sequencename = 'queues_id_seq'"
                ) == 1
            )
        }
    }

    @Test func `workers are notified once a second, however many jobs come`() async throws {
        try await TestServers.withDatabase { settings in
            let listener = Client(settings)
            try await listener.listen("larder_ready")
            let queue = Queue(Client(settings))
            let start = ContinuousClock.now
            var sent = 0
            while sent < 20 || ContinuousClock.now - start < .milliseconds(2500) {
                _ = try await queue.enqueue("x")
                sent += 1
            }
            let seconds = Int((ContinuousClock.now - start) / .seconds(1))
            var heard = 0
            while case let some = try await listener.notifications(within: .milliseconds(300)),
                !some.isEmpty
            {
                heard += some.count
            }
            #expect((2...seconds + 1).contains(heard))
            #expect(heard < sent)
        }
    }

    // MARK: how many at a time

    @Test func `a limit on a queue holds over all workers, however they race`() async throws {
        try await TestServers.withDatabase { settings in
            let queue = Queue(Client(settings))
            try await queue.limit("default", to: 3)
            for _ in 0..<60 { _ = try await queue.enqueue("x") }
            let most = try await withThrowingTaskGroup(of: Int.self) { group in
                for _ in 0..<6 {
                    group.addTask {
                        let own = Queue(Client(settings))
                        let session = try await own.openSession()
                        var most = 0
                        for _ in 0..<40 {
                            let jobs = try await self.claim(own, session, 2)
                            most = max(
                                most,
                                try await own.number(
                                    "SELECT count(*) AS n FROM larder.jobs WHERE state = 'running'"
                                )
                            )
                            for job in jobs {
                                _ = try await own.finish(job, .succeeded(JobResult()), by: session)
                            }
                        }
                        return most
                    }
                }
                return try await group.reduce(0, max)
            }
            #expect((1...3).contains(most))
            #expect(try await queue.number("SELECT count(*) AS n FROM larder.archive") == 60)
            await #expect(throws: JobsError.self) { try await queue.limit("nowhere", to: 3) }
        }
    }

    @Test func `pausing stops claims and keeps what runs`() async throws {
        try await withQueue { queue in
            for _ in 0..<3 { _ = try await queue.enqueue("x") }
            let session = try await queue.openSession()
            let job = try #require(try await claim(queue, session, 1).first)
            try await queue.pause("default")
            #expect(try await claim(queue, session).isEmpty)
            #expect(try await queue.states().first?.isPaused == true)
            #expect(
                try await queue.finish(job, .succeeded(JobResult()), by: session) == "succeeded"
            )
            try await queue.resume("default")
            #expect(try await claim(queue, session).count == 2)
        }
    }

    // MARK: failures

    @Test func `a lack of resources spends no attempt`() async throws {
        try await withQueue { queue in
            let id = try await queue.enqueue("x", maxAttempts: 1)
            let session = try await queue.openSession()
            for round in 1...4 {
                let job = try #require(try await claim(queue, session).first)
                #expect(job.attempt == 1)
                #expect(
                    try await queue.finish(job, .failed("disk full", .resource), by: session)
                        == "resource"
                )
                #expect(
                    try await queue.number(
                        "SELECT backoffs AS n FROM larder.jobs WHERE id = $1::bigint",
                        [Parameter(id)]
                    ) == round
                )
                try await queue.client.execute("UPDATE larder.jobs SET run_at = clock_timestamp()")
                _ = try await queue.promote()
            }
            let attempts = try await Runs(queue.client).attempts(of: id)
            #expect(attempts.map(\.outcome) == ["resource", "resource", "resource", "resource"])
            #expect(attempts.allSatisfy { $0.error == "disk full" })
        }
    }

    @Test func `a kind bounds the wait before a retry`() async throws {
        try await withQueue { queue in
            try await queue.client.execute(
                "INSERT INTO larder.kinds (name, max_backoff) VALUES ('quick', '100 ms')"
            )
            let session = try await queue.openSession()
            for _ in 0..<20 { _ = try await queue.enqueue("quick") }
            for job in try await claim(queue, session) {
                _ = try await queue.finish(job, .failed("e", .retryable), by: session)
            }
            #expect(
                try await queue.number(
                    """
                    SELECT count(*) AS n FROM larder.jobs
                    WHERE run_at < clock_timestamp() + interval '100 ms'
                    """
                ) == 20
            )
        }
    }

    @Test func `a job that loses two workers runs alone from then on`() async throws {
        try await withQueue { queue in
            let poison = try await queue.enqueue("poison")
            for round in 1...2 {
                let victim = try await queue.openSession()
                #expect(try await claim(queue, victim).map(\.id) == [poison])
                try await queue.expire(victim)
                #expect(try await queue.rescue().map(\.quarantined) == [round == 2])
            }
            let innocent = try await queue.enqueue("x")
            let session = try await queue.openSession()
            #expect(try await claim(queue, session).map(\.id) == [innocent])
            // One worker at a time is told, and only while there is something to run alone.
            #expect(try await queue.entersQuarantine("default", isBusy: false))
            #expect(try await !queue.entersQuarantine("default", isBusy: false))
            let alone = try await claim(queue, session, alone: true)
            #expect(alone.map(\.id) == [poison] && alone.first?.attempt == 3)
            try await queue.client.execute(
                "UPDATE larder.queue_gates SET quarantine_at = '-infinity'"
            )
            #expect(try await !queue.entersQuarantine("default", isBusy: false))
            let attempts = try await Runs(queue.client).attempts(of: poison)
            #expect(attempts.map(\.outcome) == ["lost", "lost"])
        }
    }

    @Test func `a deadline is no sign of poison`() async throws {
        try await withQueue { queue in
            _ = try await queue.enqueue("x", timeout: .milliseconds(1))
            let session = try await queue.openSession()
            for _ in 0..<3 {
                _ = try #require(try await claim(queue, session).first)
                try await Task.sleep(for: .milliseconds(5))
                #expect(try await queue.rescue().map(\.quarantined) == [false])
            }
        }
    }

    // MARK: claiming

    @Test func `a claim behind the watermark passes over what is before, and is ordered`()
        async throws
    {
        try await withQueue { queue in
            var ids: [Int] = []
            for priority in [100, 50, 100, 50] {
                ids.append(try await queue.enqueue("x", priority: priority))
            }
            let session = try await queue.openSession()
            let behind = try await queue.claim(
                10,
                from: "default",
                for: session,
                after: QueuePlace(priority: 50, id: ids[1])
            )
            #expect(behind.map(\.id) == [ids[3], ids[0], ids[2]])
            #expect(try await claim(queue, session).map(\.id) == [ids[1]])
        }
    }

    @Test func `outcomes and the next claim are one transaction`() async throws {
        try await withQueue { queue in
            for _ in 0..<3 { _ = try await queue.enqueue("x") }
            let session = try await queue.openSession()
            let first = try await claim(queue, session, 1)
            let request = Queue.ClaimRequest(count: 5, queue: "default")
            let (accepted, claimed) = try await queue.finish(
                first.map { ($0, .succeeded(JobResult())) },
                claiming: request,
                by: session
            )
            #expect(accepted == [first[0].id: "succeeded"])
            #expect(claimed.count == 2)
            // The refusal of one statement undoes the other, and the connection lives on.
            await #expect(throws: JobsError.self) {
                _ = try await queue.finish(
                    claimed.map { ($0, .succeeded(JobResult("no json"))) },
                    claiming: request,
                    by: session
                )
            }
            #expect(try await queue.number("SELECT count(*) AS n FROM larder.archive") == 1)
            #expect(
                try await queue.finish(
                    claimed.map { ($0, .succeeded(JobResult())) },
                    by: session
                ).count == 2
            )
        }
    }

    @Test func `plans of claim and finish never scan the table`() async throws {
        try await withQueue { queue in
            // Statistics of a table that was empty, plans made then, and a large table now.
            let session = try await queue.openSession()
            try await queue.client.execute("ANALYZE larder.jobs")
            for _ in 0..<3 { _ = try await claim(queue, session, 10) }
            try await queue.client.execute(
                """
                SELECT larder.enqueue_many((SELECT jsonb_agg(jsonb_build_object(
                    'kind', 'x', 'run_at', '2040-01-01')) FROM generate_series(1, 50000)))
                """
            )
            for _ in 0..<10 { _ = try await queue.enqueue("x") }
            func scanned() async throws -> Int {
                try await queue.client.execute("SELECT pg_stat_force_next_flush()")
                return try await queue.number(
                    "SELECT seq_tup_read AS n FROM pg_stat_user_tables WHERE relname = 'jobs' AND schemaname = 'larder'"
                )
            }
            let before = try await scanned()
            for _ in 0..<5 {
                let jobs = try await claim(queue, session, 2)
                #expect(jobs.count == 2)
                _ = try await queue.finish(jobs.map { ($0, .succeeded(JobResult())) }, by: session)
            }
            #expect(try await scanned() == before)
        }
    }
}
