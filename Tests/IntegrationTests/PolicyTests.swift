// SPDX-License-Identifier: Apache-2.0
import Foundation
import Postgres
import TestSupport
import Testing

@testable import Jobs

/// Edges and joins with policies, and runs that are tried again.
@Suite(.timeLimit(Effort.limit)) struct PolicyTests {
    private func withQueue(_ body: (Queue, Session) async throws -> Void) async throws {
        try await TestServers.withDatabase { settings in
            let queue = Queue(Client(settings))
            try await body(queue, try await queue.openSession())
        }
    }

    private func claim(_ queue: Queue, _ session: Session) async throws -> [Job] {
        try await queue.claim(1000, from: "default", for: session)
    }

    private func states(_ queue: Queue, _ run: Int) async throws -> [String: String] {
        let jobs = try await Runs(queue.client).jobs(run: run, limit: 1000)
        return Dictionary(uniqueKeysWithValues: jobs.map { ($0.name, $0.state) })
    }

    private func succeed(_ queue: Queue, _ job: Job, _ session: Session) async throws {
        let outcome = try await queue.finish(job, .succeeded(JobResult()), by: session)
        #expect(outcome == "succeeded")
    }

    private func fail(_ queue: Queue, _ job: Job, _ session: Session) async throws {
        let outcome = try await queue.finish(job, .failed("bad", .fatal), by: session)
        #expect(outcome == "failed")
    }

    // MARK: edges

    @Test(arguments: ["failed", "cancelled", "lost"])
    func `a job that waits for an end starts after a bad one too`(_ how: String) async throws {
        try await withQueue { queue, session in
            let run = try await Graph.start(
                feed: "f",
                pipeline: "{}",
                jobs: [
                    NewJob(name: "a", kind: "k", maxAttempts: 1),
                    NewJob(name: "b", kind: "k", after: ["a"]),
                    NewJob(name: "clean", kind: "k", afterEndOf: ["a", "b"]),
                ],
                on: queue.client
            )
            switch how {
            case "failed":
                try await fail(queue, #require(try await claim(queue, session).first), session)
            case "cancelled":
                let id = try #require(try await Runs(queue.client).jobs(run: run).first?.id)
                _ = try await queue.cancel([id])
                try await queue.cascade()
            default:
                let victim = try await queue.openSession()
                #expect(try await claim(queue, victim).count == 1)
                try await queue.expire(victim)
                #expect(try await queue.rescue().map(\.spent) == [true])
            }
            #expect(try await states(queue, run)["b"] == "cancelled")
            #expect(try await claim(queue, session).map(\.name) == ["clean"])
        }
    }

    // MARK: joins

    private func fanOut(
        _ queue: Queue,
        _ session: Session,
        _ count: Int,
        _ policy: JoinPolicy
    ) async throws -> (run: Int, parts: [Job]) {
        let run = try await Graph.start(
            feed: "f",
            pipeline: "{}",
            jobs: [
                NewJob(name: "split", kind: "k"),
                NewJob(name: "join", kind: "k", after: ["split"], joinsGroup: true),
                NewJob(name: "last", kind: "k", after: ["join"]),
            ],
            on: queue.client
        )
        let split = try #require(try await claim(queue, session).first)
        let parts = (1...count).map { NewJob(name: "part \($0)", kind: "k", maxAttempts: 1) }
        let fan = FanOut(parts, join: "join", policy: policy)
        #expect(
            try await queue.finish(split, .succeeded(JobResult(fanOut: fan)), by: session)
                == "succeeded"
        )
        let claimed = try await claim(queue, session)
        #expect(claimed.count == count)
        return (run, claimed)
    }

    @Test func `all, with some failures allowed`() async throws {
        try await withQueue { queue, session in
            let (run, parts) = try await fanOut(queue, session, 4, .all(maxFailed: 1))
            try await fail(queue, parts[0], session)
            for part in parts[1..<3] { try await succeed(queue, part, session) }
            #expect(try await states(queue, run)["join"] == "waiting")
            try await succeed(queue, parts[3], session)
            #expect(try await claim(queue, session).map(\.name) == ["join"])
        }
    }

    @Test func `one failure too many breaks the group at once, and stops the others`() async throws
    {
        try await withQueue { queue, session in
            let (run, parts) = try await fanOut(queue, session, 4, .all(maxFailed: 1))
            try await fail(queue, parts[0], session)
            try await fail(queue, parts[1], session)
            let states = try await states(queue, run)
            #expect(states["join"] == "cancelled" && states["last"] == "cancelled")
            let verdicts = try await queue.beat(session, leases: parts[2...].map(\.lease))
            #expect(verdicts.count == 2)
            let join = try await Runs(queue.client).jobs(run: run).first { $0.name == "join" }
            #expect(
                join?.error == "2 of the 4 jobs it waited for did not succeed, and 3 had to"
            )
        }
    }

    @Test(arguments: [false, true])
    func `at least n, and the first good one`(_ firstGood: Bool) async throws {
        try await withQueue { queue, session in
            let (run, parts) = try await fanOut(
                queue,
                session,
                5,
                firstGood ? .firstGood : .atLeast(2)
            )
            try await fail(queue, parts[0], session)
            if !firstGood { try await succeed(queue, parts[1], session) }
            #expect(try await states(queue, run)["join"] == "waiting")
            try await succeed(queue, parts[2], session)
            #expect(try await claim(queue, session).map(\.name) == ["join"])
            #expect(
                try await queue.number(
                    "SELECT count(*) AS n FROM larder.jobs WHERE cancel_at IS NOT NULL"
                ) == (firstGood ? 3 : 2)
            )
            // A late member changes nothing, and leaves nothing behind.
            try await succeed(queue, parts[4], session)
            try await queue.closeGroups()
            #expect(try await claim(queue, session).isEmpty)
            #expect(try await queue.number("SELECT count(*) AS n FROM larder.group_deltas") == 0)
        }
    }

    @Test func `the best of those that are done at the deadline`() async throws {
        try await withQueue { queue, session in
            let (run, parts) = try await fanOut(
                queue,
                session,
                3,
                .bestOf(within: .seconds(600))
            )
            try await succeed(queue, parts[0], session)
            #expect(try await states(queue, run)["join"] == "waiting")
            try await queue.client.execute(
                "UPDATE larder.groups SET deadline_at = clock_timestamp()"
            )
            try await queue.closeGroups()
            #expect(try await claim(queue, session).map(\.name) == ["join"])
        }
    }

    @Test func `nothing good at the deadline breaks the group and says so`() async throws {
        try await withQueue { queue, session in
            let (run, _) = try await fanOut(queue, session, 3, .bestOf(within: .milliseconds(50)))
            try await Task.sleep(for: .milliseconds(100))
            try await queue.closeGroups()
            let join = try await Runs(queue.client).jobs(run: run).first { $0.name == "join" }
            #expect(
                join?.error
                    == "0 of the 3 jobs it waited for had succeeded at the deadline, and 1 had to"
            )
        }
    }

    @Test func `cancelling a group cancels its join`() async throws {
        try await withQueue { queue, session in
            let (run, parts) = try await fanOut(queue, session, 3, .all())
            _ = try await queue.release(parts.map(\.lease), by: session)
            try await queue.client.execute("SELECT larder.cancel_group(id) FROM larder.groups")
            try await queue.closeGroups()
            let states = try await states(queue, run)
            #expect(states.values.filter { $0 == "cancelled" }.count == 5)
        }
    }

    // MARK: again

    @Test func `a failed job is retried with all that waited for it`() async throws {
        try await withQueue { queue, session in
            let run = try await Graph.start(
                feed: "f",
                pipeline: "{}",
                jobs: [
                    NewJob(name: "a", kind: "k"), NewJob(name: "b", kind: "k", after: ["a"]),
                    NewJob(name: "c", kind: "k", after: ["b"]),
                ],
                on: queue.client
            )
            try await succeed(queue, #require(try await claim(queue, session).first), session)
            let b = try #require(try await claim(queue, session).first)
            try await fail(queue, b, session)
            #expect(try await Runs(queue.client).run(run).state == "failed")
            #expect(Set(try await queue.retry([b.id])).count == 2)
            #expect(
                try await states(queue, run) == ["a": "succeeded", "b": "ready", "c": "waiting"]
            )
            for name in ["b", "c"] {
                let job = try #require(try await claim(queue, session).first)
                #expect(job.name == name && job.attempt == 1)
                try await succeed(queue, job, session)
            }
            #expect(try await Runs(queue.client).run(run).state == "succeeded")
            // What succeeded is not done again.
            #expect(try await queue.retry([b.id]).isEmpty)
        }
    }

    @Test func `a broken group is retried with its members, and closes`() async throws {
        try await withQueue { queue, session in
            let (run, parts) = try await fanOut(queue, session, 4, .all())
            try await succeed(queue, parts[0], session)
            try await fail(queue, parts[1], session)
            // The other two are still being stopped.
            let error = await #expect(throws: JobsError.self) {
                _ = try await queue.retry([parts[1].id])
            }
            #expect(error?.description.contains("still being stopped") == true)
            for part in parts[2...] {
                #expect(
                    try await queue.finish(part, .failed("stopped", .retryable), by: session)
                        == "cancelled"
                )
            }
            let join = try #require(
                try await Runs(queue.client).jobs(run: run).first { $0.name == "join" }
            )
            // From the join down to its members, or the other way round: the same jobs.
            #expect(try await queue.retry([join.id]).count == 5)
            let again = try await claim(queue, session)
            #expect(Set(again.map(\.name)) == ["part 2", "part 3", "part 4"])
            for part in again.dropLast() { try await succeed(queue, part, session) }
            #expect(try await states(queue, run)["join"] == "waiting")
            try await succeed(queue, again[2], session)
            #expect(try await claim(queue, session).map(\.name) == ["join"])
        }
    }

    @Test func `a fan-out that has lost its join does not succeed, and can be retried with it`()
        async throws
    {
        try await withQueue { queue, session in
            let run = try await Graph.start(
                feed: "f",
                pipeline: "{}",
                jobs: [
                    NewJob(name: "split", kind: "k"),
                    NewJob(name: "join", kind: "k", after: ["split"], joinsGroup: true),
                ],
                on: queue.client
            )
            let split = try #require(try await claim(queue, session).first)
            #expect(try await Runs(queue.client).cancel(run) == 2)
            let fan = FanOut([NewJob(name: "part", kind: "k")], join: "join")
            let done = Queue.Ending.succeeded(JobResult(fanOut: fan))
            let error = await #expect(throws: JobsError.self) {
                _ = try await queue.finish([(split, done)], by: session)
            }
            #expect(error?.description.contains("join, which was to join") == true)
            // What the runner does then.
            #expect(
                try await queue.finish(split, .failed("its join is gone", .fatal), by: session)
                    == "cancelled"
            )
            #expect(try await Runs(queue.client).retry(run) == 2)
            let again = try #require(try await claim(queue, session).first)
            #expect(try await queue.finish(again, done, by: session) == "succeeded")
            try await succeed(queue, #require(try await claim(queue, session).first), session)
            #expect(try await claim(queue, session).map(\.name) == ["join"])
        }
    }

    @Test func `a member retried while its group is open is counted once`() async throws {
        try await withQueue { queue, session in
            let (run, parts) = try await fanOut(queue, session, 3, .all(maxFailed: 2))
            try await fail(queue, parts[0], session)
            #expect(try await queue.retry([parts[0].id]) == [parts[0].id])
            let again = try #require(try await claim(queue, session).first)
            try await succeed(queue, again, session)
            try await succeed(queue, parts[1], session)
            #expect(try await states(queue, run)["join"] == "waiting")
            try await succeed(queue, parts[2], session)
            #expect(try await claim(queue, session).map(\.name) == ["join"])
        }
    }

    @Test func `those that still wait for a retried job wait for it again`() async throws {
        try await withQueue { queue, session in
            _ = try await Graph.start(
                feed: "f",
                pipeline: "{}",
                jobs: [
                    NewJob(name: "a", kind: "k"), NewJob(name: "b", kind: "k"),
                    NewJob(name: "needs", kind: "k", after: ["a", "b"]),
                    NewJob(name: "cleans", kind: "k", after: ["b"], afterEndOf: ["a"]),
                ],
                on: queue.client
            )
            let jobs = try await claim(queue, session)
            // Handed in, but the sweep that would end "needs" has not come yet.
            _ = try await queue.finish([(jobs[0], .failed("bad", .fatal))], by: session)
            #expect(try await queue.retry([jobs[0].id]) == [jobs[0].id])
            try await queue.cascade()
            try await succeed(queue, jobs[1], session)
            // Neither starts before "a" has ended this time.
            let a = try await claim(queue, session)
            #expect(a.map(\.name) == ["a"])
            try await succeed(queue, a[0], session)
            #expect(Set(try await claim(queue, session).map(\.name)) == ["needs", "cleans"])
        }
    }

    @Test func `a run is not retried while its feed is being made, nor a name that is alive`()
        async throws
    {
        try await withQueue { queue, session in
            let one = [NewJob(name: "a", kind: "k")]
            func start() async throws -> Int {
                try await Graph.start(feed: "f", pipeline: "{}", jobs: one, on: queue.client)
            }
            _ = try await start()
            let failed = try #require(try await claim(queue, session).first)
            try await fail(queue, failed, session)
            let next = try await start()
            let clash = await #expect(throws: JobsError.self) {
                _ = try await queue.retry([failed.id])
            }
            #expect(clash?.description.contains("by run \(next)") == true)

            let id = try await queue.enqueue("x", dedupKey: "d")
            _ = try await queue.cancel([id])
            let heir = try await queue.enqueue("x", dedupKey: "d")
            let taken = await #expect(throws: JobsError.self) { _ = try await queue.retry([id]) }
            #expect(taken?.description.contains("job \(heir) with its dedup key") == true)
        }
    }
}
