// SPDX-License-Identifier: Apache-2.0
import Testing

@testable import Jobs

/// The runner's parts that need no server.
struct RunnerPartsTests {
    @Test func `long jobs are claimed one a slot, short ones a second ahead`() {
        var plan = ClaimPlan(slots: 2)
        #expect(plan.count(waiting: 0, freeSlots: 2, isBusyWithLong: false) == 2)
        plan.ended(after: .seconds(7200))
        #expect(plan.count(waiting: 0, freeSlots: 1, isBusyWithLong: false) == 1)
        #expect(plan.count(waiting: 1, freeSlots: 1, isBusyWithLong: false) == 0)

        plan = ClaimPlan(slots: 2)
        plan.ended(after: .milliseconds(1))
        // Four times as many as before, then as many as fit in a second, 500 at most.
        #expect(plan.ahead == 8)
        plan.claimed((1...8).map { QueuePlace(priority: 100, id: $0) }, behind: plan.watermark)
        #expect(plan.ahead == 32)
        plan.claimed((1...1000).map { QueuePlace(priority: 100, id: $0) }, behind: plan.watermark)
        #expect(plan.ahead == 500)
        plan = ClaimPlan(slots: 2)
        plan.ended(after: .milliseconds(100))
        plan.claimed((1...50).map { QueuePlace(priority: 100, id: $0) }, behind: plan.watermark)
        #expect(plan.ahead == 20)
        #expect(plan.count(waiting: 11, freeSlots: 0, isBusyWithLong: false) == 0)
        #expect(plan.count(waiting: 10, freeSlots: 0, isBusyWithLong: false) == 10)
        // Nothing is to wait behind a long one.
        #expect(plan.count(waiting: 0, freeSlots: 1, isBusyWithLong: true) == 1)
    }

    private func places(_ ids: Int...) -> [QueuePlace] {
        ids.map { QueuePlace(priority: 100, id: $0) }
    }

    @Test func `the watermark follows what was taken, and falls back from time to time`() {
        let now = ContinuousClock.now
        var plan = ClaimPlan(slots: 1)
        plan.claimed(places(5, 6, 7), behind: .start, in: .zero)
        #expect(plan.watermark == places(4)[0])
        plan.claimed([], behind: plan.watermark)
        #expect(plan.watermark == places(4)[0])
        // A claim that was under way when somebody asked for a look at everything.
        let old = plan.watermark
        plan.rescan()
        plan.claimed(places(50), behind: old)
        #expect(plan.watermark == .start)
        // An urgent job does not hide what is behind it.
        plan.claimed(
            [QueuePlace(priority: 1, id: 99)],
            behind: .start,
            in: .milliseconds(20),
            at: now
        )
        #expect(plan.watermark < places(1)[0])
        plan.claimed(places(30), behind: plan.watermark)
        #expect(plan.watermark == places(29)[0])
        // A second is over, but the last such look took 20 ms: the next comes after two.
        plan.claimed([], behind: plan.watermark, at: now + .milliseconds(1900))
        #expect(plan.watermark == places(29)[0])
        plan.claimed([], behind: plan.watermark, at: now + .milliseconds(2100))
        #expect(plan.watermark == .start)
    }

    private func entry(_ lease: Int, of session: Session, _ trust: Trust) -> Workbench.Entry {
        Workbench.Entry(
            Job(
                id: lease * 10,
                queue: "q",
                runID: nil,
                groupID: nil,
                lease: lease,
                priority: 100,
                kind: "k",
                name: "n",
                args: "{}",
                attempt: 1,
                maxAttempts: 5,
                checkpoint: nil,
                stallAfter: nil
            ),
            session,
            trust
        )
    }

    @Test func `a lease is held from the claim until its outcome was accepted`() throws {
        let bench = Workbench(slots: 1)
        let session = Session(id: "a", host: "h", pid: 1, slots: 1)
        let other = Session(id: "b", host: "h", pid: 1, slots: 1)
        let trust = Trust(from: .now, ttl: .seconds(60))
        func held() -> [Int] { bench.leases(of: session).sorted() }
        #expect(bench.add([1, 2, 3].map { entry($0, of: session, trust) }) == [0])
        #expect(bench.add([entry(4, of: other, trust)]) == [])
        #expect(held() == [1, 2, 3])
        let first = try #require(bench.next(0))
        #expect(first.job.lease == 1 && held() == [1, 2, 3])
        guard case .continues(1, 3, _) = bench.end(0, first, .failed("e", .fatal)) else {
            Issue.record("the slot was taken away")
            return
        }
        #expect(held() == [1, 2, 3])
        let ended = bench.takeEnded(atMost: 10)
        #expect(held() == [1, 2, 3])
        bench.settled(ended.map(\.entry))
        #expect(held() == [2, 3])
        #expect(bench.takeWaiting(olderThan: .seconds(60)).isEmpty)
        let given = bench.takeWaiting()
        #expect(given.map(\.job.lease) == [2, 3, 4])
        // On their way back they are still ours: nothing may take the worker for empty.
        #expect(bench.next(0)?.job.lease == nil && bench.load.free == 1)
        #expect(held() == [2, 3] && !bench.load.isEmpty)
        bench.settled(given)
        #expect(held() == [] && bench.load.isEmpty)
    }

    @Test func `a handler whose slot was taken away ends nothing`() throws {
        let bench = Workbench(slots: 1)
        let session = Session(id: "a", host: "h", pid: 1, slots: 1)
        let trust = Trust(from: .now, ttl: .seconds(60))
        _ = bench.add([entry(1, of: session, trust)])
        let stuck = try #require(bench.next(0))
        #expect(!bench.abandon(0, lease: 99, .failed("stuck", .retryable)))
        #expect(bench.abandon(0, lease: 1, .failed("stuck", .retryable)))
        #expect(bench.load.free == 1 && bench.load.ended == 1)
        guard case .abandoned = bench.end(0, stuck, .succeeded(JobResult())) else {
            Issue.record("the late end counted")
            return
        }
        #expect(bench.takeEnded(atMost: 10).count == 1)
    }

    @Test func `a job stops by the clock when its session may be over, heartbeat or not`() throws {
        let trust = Trust(from: .now - .seconds(100), ttl: .seconds(45))
        let session = Session(id: "a", host: "h", pid: 1, slots: 1)
        let context = entry(1, of: session, trust).context
        #expect(context.stop == .revoked)
        #expect(throws: CancellationError.self) { try context.checkStop() }
        trust.renew(from: .now, ttl: .seconds(45))
        #expect(context.stop == nil)
        trust.revoke()
        #expect(context.stop == .revoked)
    }
}
