// SPDX-License-Identifier: Apache-2.0
import Foundation
import Glibc
import Postgres
import TestSupport
import Testing

@testable import Jobs

/// Worker processes that are killed, stopped and started again.
@Suite(.timeLimit(Effort.limit)) struct WorkerProcessTests {
    /// So long that a look at it comes in time however busy the machine is.
    private let long = #"{"ms":10000}"#

    private func with(_ body: (Larder, Queue) async throws -> Void) async throws {
        try await TestServers.withDatabase { settings in
            let folder = try TemporaryFolder()
            try await body(Larder(settings, home: folder.path), Queue(Client(settings)))
        }
    }

    private func add(
        _ queue: Queue,
        _ kind: String,
        _ args: String = "{}",
        count: Int = 1,
        maxAttempts: Int = 20
    ) async throws -> [Int] {
        let job =
            #"{"kind":"\#(kind)","queue":"bench","args":\#(args),"max_attempts":\#(maxAttempts)}"#
        return try await queue.enqueueMany(
            "[" + Array(repeating: job, count: count).joined(separator: ",") + "]"
        )
    }

    /// Returns once it has a session: before that it does not listen to signals either.
    private func worker(
        _ larder: Larder,
        _ queue: Queue,
        ttl: Int = 8,
        slots: Int = 2
    ) async throws -> BackgroundProcess {
        let worker = try await larder.start(
            "bench",
            "worker",
            "--ttl",
            "\(ttl)",
            "--slots",
            "\(slots)"
        )
        try await waitUntil("the worker has a session") {
            try await queue.number(
                "SELECT count(*) AS n FROM larder.sessions WHERE pid = $1::int",
                [Parameter(worker.pid)]
            ) == 1
        }
        return worker
    }

    private func count(_ queue: Queue, _ condition: String) async throws -> Int {
        try await queue.number("SELECT count(*) AS n FROM larder.all_jobs WHERE " + condition)
    }

    private func wait(_ queue: Queue, _ jobs: Int) async throws {
        try await waitUntil("\(jobs) jobs have succeeded") {
            try await count(queue, "state = 'succeeded'") == jobs
        }
        // One accepted result each, and nothing left behind.
        #expect(
            try await queue.number("SELECT count(DISTINCT id) AS n FROM larder.archive") == jobs
        )
        #expect(try await queue.number("SELECT count(*) AS n FROM larder.jobs") == 0)
    }

    @Test func `a worker killed with a long job and many short ones loses none`()
        async throws
    {
        try await with { larder, queue in
            let slow = try await add(queue, "sleep", long)
            let short = 600
            _ = try await add(queue, "sleep", #"{"ms":15}"#, count: short)
            let victim = try await worker(larder, queue)
            try await waitUntil("it holds the long one") {
                try await Runs(queue.client).job(slow[0]).state == "running"
            }
            // It learns that others are short, and holds many; a second later it sees that one is long,
            // and a busy machine may not look in between.
            let began = ContinuousClock.now
            try await waitUntil("it holds many more, or will hold no more") {
                if ContinuousClock.now - began > .milliseconds(500) { return true }
                return try await count(queue, "state = 'running'") > 20
            }
            let session = try await owner(queue, slow[0])
            victim.kill()
            let heir = try await worker(larder, queue)
            // What the victim had sent may still be accepted; all else is given to another.
            try await waitUntil("nothing is held by the dead") {
                try await queue.number(
                    "SELECT count(*) AS n FROM larder.jobs WHERE session_id = $1::uuid",
                    [Parameter(session)]
                ) == 0
            }
            #expect(
                try await queue.number(
                    "SELECT count(*) AS n FROM larder.attempts WHERE outcome = 'lost'"
                ) >= 1
            )
            try await wait(queue, short + 1)
            let job = try await Runs(queue.client).job(slow[0])
            #expect(job.attempt == 2)
            #expect(try await heir.terminate() == 0)
        }
    }

    @Test func `one of two workers killed again and again loses none`() async throws {
        try await with { larder, queue in
            let kills = Effort.scaled(3, long: 15)
            let pause = Effort.scaled(2, long: 20)
            let jobs = Effort.scaled(600, long: 15_000)
            _ = try await add(queue, "sleep", #"{"ms":15}"#, count: jobs)
            let steady = try await worker(larder, queue, slots: 1)
            var victim = try await worker(larder, queue, slots: 1)
            for _ in 0..<kills {
                try await Task.sleep(for: .seconds(pause))
                victim.kill()
                victim = try await worker(larder, queue, slots: 1)
            }
            try await waitUntil("all are done", within: .seconds(Effort.scaled(90, long: 600))) {
                try await count(queue, "state = 'succeeded'") == jobs
            }
            try await wait(queue, jobs)
            #expect(try await steady.terminate() == 0)
            #expect(try await victim.terminate() == 0)
        }
    }

    @Test func `a worker that sleeps through its session is refused, and goes on with a new one`()
        async throws
    {
        try await with { larder, queue in
            let slow = try await add(queue, "sleep", long)
            let sleeper = try await worker(larder, queue, ttl: 3, slots: 1)
            try await waitUntil("it is at it") { try await count(queue, "state = 'running'") == 1 }
            let session = try await owner(queue, slow[0])
            sleeper.signal(SIGSTOP)
            let heir = try await worker(larder, queue, ttl: 30, slots: 1)
            try await waitUntil("another has it") {
                let now = try await owner(queue, slow[0])
                return now != nil && now != session
            }
            sleeper.signal(SIGCONT)
            try await wait(queue, 1)
            let ended = try await Runs(queue.client).job(slow[0])
            #expect(ended.attempt == 2)
            #expect(try await owner(queue, slow[0]) != session)
            // It has opened another session, and works.
            #expect(try await heir.terminate() == 0)
            _ = try await add(queue, "noop")
            try await wait(queue, 2)
            #expect(try await sleeper.terminate() == 0)
        }
    }

    private func owner(_ queue: Queue, _ job: Int) async throws -> String? {
        try await queue.client.query(
            "SELECT session_id FROM larder.all_jobs WHERE id = $1::bigint",
            [Parameter(job)]
        ) { row throws(PostgresError) in try row.decodeIfPresent("session_id", String.self) }[0]
    }

    @Test func `a job that kills its workers ends alone, and harms no other`() async throws {
        try await with { larder, queue in
            let poison = try await add(queue, "crash", maxAttempts: 3)
            _ = try await add(queue, "sleep", #"{"ms":10}"#, count: 100)
            // What a supervisor does.
            var victim = try await worker(larder, queue, ttl: 2)
            try await waitUntil("the poison has failed") {
                if !victim.isRunning { victim = try await worker(larder, queue, ttl: 2) }
                return try await queue.state(of: poison[0]) == "failed"
            }
            if !victim.isRunning { victim = try await worker(larder, queue, ttl: 2) }
            try await waitUntil("the others are done") {
                try await count(queue, "state = 'succeeded'") == 100
            }
            let attempts = try await Runs(queue.client).attempts(of: poison[0])
            #expect(attempts.map(\.outcome) == ["lost", "lost", "failed"])
            // The third time it was alone: nothing else was lost with it.
            let beside = try await queue.client.query(
                """
                SELECT format('job %s: %s, %s', job_id, outcome, error) AS attempt
                FROM larder.attempts
                WHERE session_id = (SELECT session_id FROM larder.attempts
                                    WHERE job_id = $1::bigint ORDER BY ended_at DESC LIMIT 1)
                  AND job_id <> $1::bigint
                """,
                [Parameter(poison[0])]
            ) { row throws(PostgresError) in try row.decode("attempt", String.self) }
            #expect(beside == [])
            #expect(try await victim.terminate() == 0)
        }
    }

    @Test func `a job stopped in the middle goes on there on another worker`() async throws {
        try await with { larder, queue in
            let job = try await add(queue, "steps", #"{"count":100,"ms":100}"#)
            let first = try await larder.start("bench", "worker", "--slots", "1", "--grace", "0")
            try await waitUntil("a checkpoint is kept") {
                try await Runs(queue.client).job(job[0]).checkpoint != nil
            }
            #expect(try await first.terminate() == 0)
            let back = try await Runs(queue.client).job(job[0])
            #expect(back.state == "ready" && back.attempt == 0)
            let kept = try #require(back.checkpoint)
            let second = try await worker(larder, queue, slots: 1)
            try await wait(queue, 1)
            let done = try await Runs(queue.client).job(job[0])
            let step = kept.filter(\.isNumber)
            #expect(done.result == #"{"from": \#(step)}"#)
            #expect(try await second.terminate() == 0)
        }
    }

    @Test func `a worker that comes back at once under the same name is another`() async throws {
        try await with { larder, queue in
            let slow = try await add(queue, "sleep", long)
            let victim = try await worker(larder, queue, slots: 1)
            try await waitUntil("it is at it") { try await count(queue, "state = 'running'") == 1 }
            victim.kill()
            // The same host, at once: the old session's job is not its own.
            let heir = try await worker(larder, queue, slots: 1)
            try await wait(queue, 1)
            #expect(try await Runs(queue.client).job(slow[0]).attempt == 2)
            #expect(try await heir.terminate() == 0)
        }
    }
}
