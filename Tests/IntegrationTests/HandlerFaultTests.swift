// SPDX-License-Identifier: Apache-2.0
import Glibc
import Postgres
import Synchronization
import TestSupport
import Testing

@testable import Jobs

/// Handlers that misbehave.
@Suite(.timeLimit(Effort.limit)) struct HandlerFaultTests {
    @Test func `a job that reports nothing is stopped when its kind says so`() async throws {
        try await TestServers.withDatabase { settings in
            let queue = Queue(Client(settings))
            try await queue.client.execute(
                """
                INSERT INTO larder.kinds (name, max_attempts, stall_after)
                VALUES ('quiet', 1, '3 s'), ('chatty', 1, '8 s')
                """
            )
            let quiet = try await queue.enqueue("quiet")
            let chatty = try await queue.enqueue("chatty")
            let worker = testRunner(settings) { job, context in
                for step in 0..<1000 {
                    if job.kind == "chatty" { context.progress(Double(step) / 1000, "on") }
                    try context.checkStop()
                    try await Task.sleep(for: .milliseconds(10))
                }
                return JobResult()
            }
            async let running: Void = worker.run()
            try await waitUntil("both have ended") {
                try await queue.number("SELECT count(*) AS n FROM larder.archive") == 2
            }
            await worker.drain()
            try await running
            #expect(try await queue.state(of: chatty) == "succeeded")
            let job = try await Runs(queue.client).job(quiet)
            #expect(job.state == "failed" && job.error?.hasPrefix("reported nothing for") == true)
        }
    }

    @Test func `a loop that ignores everything loses its job by the deadline, and its slot`()
        async throws
    {
        try await TestServers.withDatabase { settings in
            let queue = Queue(Client(settings))
            let endless = try await queue.enqueue("endless", maxAttempts: 1, timeout: .seconds(1))
            let isOver = Mutex(false)
            let worker = testRunner(
                settings,
                slots: 1,
                change: { $0.stuckAfter = .milliseconds(500) }
            ) { job, _ in
                if job.kind == "endless" {
                    // Not a wait: the thread itself is kept.
                    while !isOver.withLock({ $0 }) { usleep(1000) }
                }
                return JobResult()
            }
            async let running: Void = worker.run()
            try await waitUntil("the deadline has passed") {
                try await queue.state(of: endless) == "failed"
            }
            // The only slot there is works again.
            let next = try await queue.enqueue("x")
            try await waitUntil("the next job is done") {
                try await queue.state(of: next) == "succeeded"
            }
            isOver.withLock { $0 = true }
            await worker.drain()
            try await running
            #expect(
                try await Runs(queue.client).job(endless).error?.contains("timeout of 00:00:01")
                    == true
            )
        }
    }

    @Test
    func `a quarantined job waits for an idle worker, and stops none that is at something long`()
        async throws
    {
        try await TestServers.withDatabase { settings in
            let queue = Queue(Client(settings))
            let long = try await queue.enqueue("long")
            let isOver = Mutex(false)
            let alone = Mutex<[String]>([])
            let busyNow = Mutex(0)
            let body: @Sendable (Job, JobContext) async throws -> JobResult = { job, _ in
                busyNow.withLock { $0 += 1 }
                while job.kind == "long", !isOver.withLock({ $0 }) {
                    try await Task.sleep(for: .milliseconds(5))
                }
                if job.kind == "poison" {
                    alone.withLock { $0.append("\(busyNow.withLock { $0 }) at work") }
                }
                busyNow.withLock { $0 -= 1 }
                return JobResult()
            }
            let worker = testRunner(settings, slots: 2, body)
            async let running: Void = worker.run()
            try await waitUntil("the long one has begun") {
                try await queue.state(of: long) == "running"
            }
            try await queue.pause("default")
            let poison = try await queue.enqueue("poison")
            try await queue.client.execute(
                """
                UPDATE larder.jobs SET quarantined = true, started_at = clock_timestamp()
                WHERE id = $1::bigint
                """,
                [Parameter(poison)]
            )
            try await queue.resume("default")
            // Its other slot goes on all the time.
            for _ in 0..<14 {
                let id = try await queue.enqueue("x")
                try await waitUntil("the other slot works") {
                    try await queue.state(of: id) == "succeeded"
                }
                try await Task.sleep(for: .milliseconds(500))
            }
            #expect(try await queue.state(of: poison) == "ready")
            isOver.withLock { $0 = true }
            try await waitUntil("the quarantined one has run") {
                try await queue.state(of: poison) == "succeeded"
            }
            #expect(alone.withLock { $0 } == ["1 at work"])
            await worker.drain()
            try await running
        }
    }

    @Test func `short jobs do not wait behind a long one`() async throws {
        try await TestServers.withDatabase { settings in
            let queue = Queue(Client(settings))
            // Learns that jobs are short, claims ahead, and then one is long.
            for _ in 0..<200 { _ = try await queue.enqueue("short") }
            let long = try await queue.enqueue("long", priority: 150)
            for _ in 0..<20 { _ = try await queue.enqueue("behind", priority: 200) }
            let isOver = Mutex(false)
            let body: @Sendable (Job, JobContext) async throws -> JobResult = { job, _ in
                while job.kind == "long", !isOver.withLock({ $0 }) {
                    try await Task.sleep(for: .milliseconds(5))
                }
                return JobResult()
            }
            let first = testRunner(settings, slots: 1, body)
            let other = testRunner(settings, slots: 1, body)
            async let running: Void = first.run()
            try await waitUntil("the long one has begun") {
                try await queue.state(of: long) == "running"
            }
            async let helping: Void = other.run()
            try await waitUntil("all but the long one are done") {
                try await queue.number("SELECT count(*) AS n FROM larder.archive") == 220
            }
            #expect(try await queue.state(of: long) == "running")
            isOver.withLock { $0 = true }
            await first.drain()
            await other.drain()
            try await running
            try await helping
        }
    }

    @Test func `a refused result in a batch fails its own job and no other`() async throws {
        try await TestServers.withDatabase { settings in
            let queue = Queue(Client(settings))
            for number in 0..<50 {
                _ = try await queue.enqueue(number == 20 ? "bad" : "good", maxAttempts: 1)
            }
            let worker = testRunner(settings, change: { $0.exitsWhenEmpty = true }) { job, _ in
                JobResult(job.kind == "bad" ? "no json" : "{}")
            }
            try await worker.run()
            let failed = try await Runs(queue.client).jobs(state: "failed")
            #expect(failed.map(\.kind) == ["bad"])
            #expect(failed.first?.error?.contains("its result was refused") == true)
            #expect(
                try await queue.number(
                    "SELECT count(*) AS n FROM larder.archive WHERE state = 'succeeded'"
                ) == 49
            )
        }
    }
}
