// SPDX-License-Identifier: Apache-2.0
import Foundation
import Postgres
import TestSupport
import Testing

@testable import Jobs

/// Random operations on the queue and on a model of it in memory: after each, every job must be in
/// the same state in both.
///
/// A failing sequence is shrunk before it is shown.
@Suite(.timeLimit(Effort.limit)) struct ModelTests {
    @Test(arguments: 0..<4)
    func `the queue does what its model does`(_ lane: Int) async throws {
        try await TestServers.withDatabase { settings in
            let queue = Queue(Client(settings))
            for round in 0..<Effort.scaled(10, long: 400)
            where try await !check(seed: round * 4 + lane, queue) {
                return
            }
        }
    }

    private func check(seed: Int, _ queue: Queue) async throws -> Bool {
        let operations = Self.operations(seed: seed, count: 60)
        guard var problem = try await Self.replay(operations, on: queue) else { return true }
        // Leaves out what is not needed for the failure, in ever smaller pieces.
        var rest = operations
        var size = rest.count / 2
        while size > 0 {
            var start = 0
            while start < rest.count {
                var fewer = rest
                fewer.removeSubrange(start..<min(start + size, rest.count))
                if let still = try await Self.replay(fewer, on: queue) {
                    (rest, problem) = (fewer, still)
                } else {
                    start += size
                }
            }
            size /= 2
        }
        let steps = rest.map { "\($0)" }.joined(separator: "\n      ")
        Issue.record("seed \(seed): \(problem)\nafter \(steps)")
        return false
    }

    enum Operation: Sendable {
        case enqueue(maxAttempts: Int, name: Int?)
        /// Jobs that wait for earlier ones; an edge by two numbers and whether a failure is ignored.
        case run(jobs: Int, edges: [(Int, Int, Bool)])
        /// A job that fans out, its join, and a job after that.
        case fan(count: Int, policy: Int)
        case claim(session: Int, count: Int)
        case claimAlone(session: Int)
        case finish(pick: Int, outcome: Int)
        /// By a session that lost the job, or never had it.
        case finishStale(pick: Int)
        case heartbeat(session: Int, forgetting: Int)
        case cancel(pick: Int)
        /// The worker dies, and another boots in its place.
        case lose(session: Int)
        case release(pick: Int)
        case timePasses
    }

    private static func operations(seed: Int, count: Int) -> [Operation] {
        var state = UInt64(seed) &* 0x9E37_79B9_7F4A_7C15 &+ 0x1234_5678_9ABC_DEF1
        func random(_ bound: Int) -> Int {
            state ^= state << 13
            state ^= state >> 7
            state ^= state << 17
            return Int(state % UInt64(bound))
        }
        return (0..<count).map { _ in
            switch random(22) {
            case 0, 1:
                return .enqueue(maxAttempts: 1 + random(3), name: random(3) == 0 ? random(2) : nil)
            case 2:
                let jobs = 2 + random(4)
                let edges = (0..<random(6)).compactMap { _ -> (Int, Int, Bool)? in
                    let (a, b) = (random(jobs), random(jobs))
                    return a < b ? (a, b, random(3) == 0) : nil
                }
                return .run(jobs: jobs, edges: edges)
            case 3: return .fan(count: 1 + random(4), policy: random(4))
            case 4...7: return .claim(session: random(2), count: 1 + random(4))
            case 8: return .claimAlone(session: random(2))
            case 9...14: return .finish(pick: random(1000), outcome: random(6))
            case 15: return .finishStale(pick: random(1000))
            case 16: return .heartbeat(session: random(2), forgetting: random(4))
            case 17: return .cancel(pick: random(1000))
            case 18: return .lose(session: random(2))
            case 19: return .release(pick: random(1000))
            default: return .timePasses
            }
        }
    }

    // MARK: the model

    private struct ModelJob {
        var id = 0
        var state = "ready"
        var attempt = 0
        var maxAttempts = 5
        var lost = 0
        var quarantined = false
        var cancelling = false
        var doomed = false
        var pending = 0
        var name: Int?
        /// Index of the child, and whether the failure of this job is ignored there.
        var children: [(Int, Bool)] = []
        var fan: (count: Int, policy: Int, join: Int)?
        var group: Int?
        var session: Int?
        var claimed: Job?

        var isAlive: Bool { ["waiting", "scheduled", "ready", "running"].contains(state) }
    }

    private struct ModelGroup {
        var total: Int
        var need: Int
        var early: Bool
        var join: Int
        var done = 0
        var failed = 0
        var isOpen = true
    }

    private struct Model {
        var jobs: [ModelJob] = []
        var groups: [ModelGroup] = []

        mutating func end(_ index: Int, _ state: String) {
            jobs[index].state = state
            jobs[index].session = nil
            jobs[index].cancelling = false
            jobs[index].quarantined = false
            if let group = jobs[index].group, groups[group].isOpen {
                groups[group].done += 1
                if state != "succeeded" { groups[group].failed += 1 }
            }
            for (child, ignores) in jobs[index].children where jobs[child].state == "waiting" {
                if state == "succeeded" || ignores {
                    jobs[child].pending -= 1
                    if jobs[child].pending == 0 { jobs[child].state = "ready" }
                } else {
                    jobs[child].doomed = true
                }
            }
        }

        mutating func cancel(_ index: Int) {
            guard jobs[index].isAlive else { return }
            if jobs[index].state == "running" {
                jobs[index].cancelling = true
            } else {
                end(index, "cancelled")
            }
        }

        mutating func sweep() {
            var before = -1
            while before != jobs.count(where: \.isAlive) {
                before = jobs.count(where: \.isAlive)
                for index in groups.indices where groups[index].isOpen { closeIfDue(index) }
                for index in jobs.indices where jobs[index].doomed && jobs[index].isAlive {
                    end(index, "cancelled")
                }
            }
        }

        private mutating func closeIfDue(_ index: Int) {
            let g = groups[index]
            let enough = g.done - g.failed >= g.need
            guard g.done >= g.total || g.early && enough || g.total - g.failed < g.need else {
                return
            }
            groups[index].isOpen = false
            if enough {
                if jobs[g.join].state == "waiting" {
                    jobs[g.join].pending -= 1
                    if jobs[g.join].pending == 0 { jobs[g.join].state = "ready" }
                }
            } else {
                cancel(g.join)
            }
            for member in jobs.indices where jobs[member].group == index { cancel(member) }
        }
    }

    private static let policies: [JoinPolicy] = [
        .all(), .all(maxFailed: 1), .atLeast(2), .firstGood,
    ]

    /// What differs after which operation; nil when nothing does.
    private static func replay(_ operations: [Operation], on queue: Queue) async throws -> String? {
        try await queue.client.execute(
            """
            TRUNCATE larder.jobs, larder.archive, larder.groups, larder.group_deltas, larder.runs,
                     larder.dependencies, larder.attempts, larder.sessions, larder.progress
            """
        )
        var replay = Replay(queue: queue)
        replay.sessions = [try await queue.openSession(), try await queue.openSession()]
        for (place, operation) in operations.enumerated() {
            try await replay.perform(operation)
            try await queue.closeGroups()
            try await queue.cascade()
            try await queue.closeGroups()
            try await queue.cascade()
            replay.model.sweep()
            if let difference = try await replay.difference() {
                return "operation \(place + 1), \(operation): \(difference)"
            }
        }
        return nil
    }

    private struct Replay {
        let queue: Queue
        var model = Model()
        var sessions: [Session] = []
        var runs = 0

        /// Indices of the model's jobs for which something holds; one of them.
        private func pick(_ number: Int, _ isWanted: (ModelJob) -> Bool) -> Int? {
            let found = model.jobs.indices.filter { isWanted(model.jobs[$0]) }
            return found.isEmpty ? nil : found[number % found.count]
        }

        mutating func perform(_ operation: Operation) async throws {
            switch operation {
            case .enqueue(let maxAttempts, let name):
                let id = try await queue.enqueue(
                    "k",
                    maxAttempts: maxAttempts,
                    dedupKey: name.map { "name \($0)" }
                )
                if let name, let alive = pick(0, { $0.name == name && $0.isAlive }) {
                    #expect(model.jobs[alive].id == id)
                } else {
                    model.jobs.append(ModelJob(id: id, maxAttempts: maxAttempts, name: name))
                }
            case .run(let count, let edges): try await start(count, edges)
            case .fan(let count, let policy): try await startFan(count, policy)
            case .claim(let session, let count): try await claim(session, count, alone: false)
            case .claimAlone(let session): try await claim(session, 1, alone: true)
            case .finish(let number, let outcome):
                if let index = pick(number, { $0.state == "running" }) {
                    try await finish(index, outcome)
                }
            case .finishStale(let number): try await finishStale(number)
            case .heartbeat(let session, let forgetting):
                try await heartbeat(session, forgetting)
            case .cancel(let number):
                if let index = pick(number, \.isAlive) {
                    _ = try await queue.cancel([model.jobs[index].id])
                    model.cancel(index)
                }
            case .lose(let session):
                try await queue.expire(sessions[session])
                try await rescue(session)
                sessions[session] = try await queue.openSession()
            case .release(let number):
                guard let index = pick(number, { $0.state == "running" }),
                    let job = model.jobs[index].claimed, let session = model.jobs[index].session
                else { return }
                let released = try await queue.release([job.lease], by: sessions[session])
                #expect(released.isEmpty == model.jobs[index].cancelling)
                if !model.jobs[index].cancelling { giveBack(index) }
            case .timePasses:
                try await queue.client.execute(
                    "UPDATE larder.jobs SET run_at = clock_timestamp() WHERE state = 'scheduled'"
                )
                _ = try await queue.promote()
                for index in model.jobs.indices where model.jobs[index].state == "scheduled" {
                    model.jobs[index].state = "ready"
                }
            }
        }

        private mutating func giveBack(_ index: Int) {
            model.jobs[index].state = "ready"
            model.jobs[index].attempt -= 1
            model.jobs[index].session = nil
        }

        private mutating func start(_ count: Int, _ edges: [(Int, Int, Bool)]) async throws {
            var jobs = (0..<count).map { NewJob(name: "\($0)", kind: "k", maxAttempts: 2) }
            let first = model.jobs.count
            model.jobs += (0..<count).map { _ in ModelJob(maxAttempts: 2) }
            var seen: Set<[Int]> = []
            for (parent, child, ignores) in edges where seen.insert([parent, child]).inserted {
                if ignores {
                    jobs[child].afterEndOf.append("\(parent)")
                } else {
                    jobs[child].after.append("\(parent)")
                }
                model.jobs[first + parent].children.append((first + child, ignores))
                model.jobs[first + child].pending += 1
                model.jobs[first + child].state = "waiting"
            }
            let run = try await start(jobs)
            try await name(run, from: first)
        }

        private mutating func start(_ jobs: [NewJob]) async throws -> Int {
            runs += 1
            return try await Graph.start(
                feed: "f\(runs)",
                pipeline: "{}",
                jobs: jobs,
                on: queue.client
            )
        }

        /// Jobs of a run are called by their places in it.
        private mutating func name(_ run: Int, from first: Int) async throws {
            for (place, id) in try await ids(of: run) {
                model.jobs[first + (try #require(Int(place)))].id = id
            }
        }

        private func ids(of run: Int, like pattern: String = "%") async throws -> [(String, Int)] {
            try await queue.client.query(
                "SELECT name, id FROM larder.all_jobs WHERE run_id = $1::bigint AND name LIKE $2",
                [Parameter(run), Parameter(pattern)]
            ) { row throws(PostgresError) in (try row.decode("name"), try row.decode("id")) }
        }

        private mutating func startFan(_ count: Int, _ policy: Int) async throws {
            let first = model.jobs.count
            model.jobs.append(ModelJob(maxAttempts: 2, fan: (count, policy, first + 1)))
            model.jobs.append(ModelJob(state: "waiting", maxAttempts: 2, pending: 2))
            model.jobs.append(ModelJob(state: "waiting", maxAttempts: 2, pending: 1))
            model.jobs[first].children = [(first + 1, false)]
            model.jobs[first + 1].children = [(first + 2, false)]
            let run = try await start([
                NewJob(name: "0", kind: "k", maxAttempts: 2),
                NewJob(name: "1", kind: "k", after: ["0"], joinsGroup: true, maxAttempts: 2),
                NewJob(name: "2", kind: "k", after: ["1"], maxAttempts: 2),
            ])
            try await name(run, from: first)
        }

        private mutating func claim(_ session: Int, _ count: Int, alone: Bool) async throws {
            let jobs = try await queue.claim(
                count,
                from: "default",
                for: sessions[session],
                alone: alone
            )
            let wanted = model.jobs.indices
                .filter { model.jobs[$0].state == "ready" && model.jobs[$0].quarantined == alone }
                .sorted { model.jobs[$0].id < model.jobs[$1].id }
                .prefix(count)
            #expect(jobs.map(\.id) == wanted.map { model.jobs[$0].id })
            for (index, job) in zip(wanted, jobs) {
                model.jobs[index].state = "running"
                model.jobs[index].attempt += 1
                model.jobs[index].session = session
                model.jobs[index].claimed = job
            }
        }

        private mutating func finish(_ index: Int, _ outcome: Int) async throws {
            guard let job = model.jobs[index].claimed, let session = model.jobs[index].session
            else { return }
            let fan = model.jobs[index].fan
            var outcome = outcome
            if outcome > 2, let fan, model.jobs[fan.join].state != "waiting" {
                // Its join was cancelled: it cannot succeed, and the runner lets it fail.
                outcome = 1
            }
            let ending: Queue.Ending
            switch outcome {
            case 0: ending = .failed("e", .retryable)
            case 1: ending = .failed("e", .fatal)
            case 2: ending = .failed("e", .resource)
            default:
                ending = .succeeded(
                    JobResult(
                        fanOut: fan.map { fan in
                            FanOut(
                                (0..<fan.count).map {
                                    NewJob(name: "part \($0)", kind: "k", maxAttempts: 2)
                                },
                                join: "1",
                                policy: ModelTests.policies[fan.policy]
                            )
                        }
                    )
                )
            }
            let expected =
                if outcome > 2 { "succeeded" } else if model.jobs[index].cancelling {
                    "cancelled"
                } else if outcome == 2 {
                    "resource"
                } else if outcome == 0, model.jobs[index].attempt < model.jobs[index].maxAttempts {
                    "retry"
                } else { "failed" }
            #expect(try await queue.finish(job, ending, by: sessions[session]) == expected)
            // Once is all: the fence refuses the second.
            #expect(try await queue.finish(job, ending, by: sessions[session]) == nil)
            switch expected {
            case "retry", "resource":
                model.jobs[index].state = "scheduled"
                model.jobs[index].session = nil
                if expected == "resource" { model.jobs[index].attempt -= 1 }
            default:
                // The fan-out is in the transaction of the finish, before anything is closed.
                model.end(index, expected)
                if expected == "succeeded", let fan { try await addMembers(of: job, fan) }
            }
        }

        private mutating func addMembers(
            of job: Job,
            _ fan: (count: Int, policy: Int, join: Int)
        ) async throws {
            let need = [fan.count, max(0, fan.count - 1), min(fan.count, 2), 1][fan.policy]
            model.groups.append(
                ModelGroup(total: fan.count, need: need, early: fan.policy >= 2, join: fan.join)
            )
            let run = try #require(job.runID)
            for (_, id) in try await ids(of: run, like: "part %").sorted(by: { $0.1 < $1.1 }) {
                model.jobs.append(
                    ModelJob(id: id, maxAttempts: 2, group: model.groups.count - 1)
                )
            }
        }

        private mutating func finishStale(_ number: Int) async throws {
            guard let index = pick(number, { $0.claimed != nil }),
                let job = model.jobs[index].claimed
            else { return }
            // The wrong session always; the right one only where it has lost the job.
            for (place, session) in sessions.enumerated()
            where model.jobs[index].session != place || model.jobs[index].state != "running" {
                let ending = Queue.Ending.succeeded(JobResult())
                #expect(try await queue.finish(job, ending, by: session) == nil)
                #expect(try await queue.release([job.lease], by: session).isEmpty)
            }
        }

        private mutating func heartbeat(_ session: Int, _ forgetting: Int) async throws {
            let held = model.jobs.indices.filter {
                model.jobs[$0].state == "running" && model.jobs[$0].session == session
            }
            let forgotten = Array(held.prefix(forgetting))
            let named = held.dropFirst(forgetting)
            let verdicts = try await queue.beat(
                sessions[session],
                leases: named.compactMap { model.jobs[$0].claimed?.lease },
                ttl: .seconds(600)
            )
            let cancelled = named.filter { model.jobs[$0].cancelling }
            #expect(verdicts.count == cancelled.count + forgotten.count)
            for index in cancelled {
                let lease = try #require(model.jobs[index].claimed?.lease)
                #expect(verdicts.contains(.cancelled(lease: lease)))
            }
            for index in forgotten {
                if model.jobs[index].cancelling {
                    model.jobs[index].attempt -= 1
                    model.end(index, "cancelled")
                } else {
                    giveBack(index)
                }
            }
            _ = try await queue.rescue()
        }

        private mutating func rescue(_ session: Int) async throws {
            _ = try await queue.rescue()
            for index in model.jobs.indices
            where model.jobs[index].state == "running" && model.jobs[index].session == session {
                if model.jobs[index].cancelling {
                    model.end(index, "cancelled")
                } else if model.jobs[index].attempt >= model.jobs[index].maxAttempts {
                    model.end(index, "failed")
                } else {
                    model.jobs[index].state = "ready"
                    model.jobs[index].session = nil
                    model.jobs[index].lost += 1
                    if model.jobs[index].lost >= 2 { model.jobs[index].quarantined = true }
                }
            }
        }

        func difference() async throws -> String? {
            let rows = try await queue.client.query(
                """
                SELECT id, state, attempt, quarantined, cancelling FROM larder.all_jobs
                """
            ) { row throws(PostgresError) in
                (
                    try row.decode("id", Int.self),
                    "\(try row.decode("state", String.self)), attempt \(try row.decode("attempt", Int.self))"
                        + (try row.decode("quarantined", Bool.self) ? ", quarantined" : "")
                        + (try row.decode("cancelling", Bool.self) ? ", cancelling" : "")
                )
            }
            guard Set(rows.map(\.0)).count == rows.count else { return "a job is there twice" }
            let found = Dictionary(uniqueKeysWithValues: rows)
            for job in model.jobs {
                let expected =
                    "\(job.state), attempt \(job.attempt)"
                    + (job.quarantined ? ", quarantined" : "")
                    + (job.cancelling ? ", cancelling" : "")
                if found[job.id] != expected {
                    return "job \(job.id) is \(found[job.id] ?? "gone"), but should be \(expected)"
                }
            }
            return found.count == model.jobs.count
                ? nil : "there are \(found.count) jobs, not \(model.jobs.count)"
        }
    }
}
