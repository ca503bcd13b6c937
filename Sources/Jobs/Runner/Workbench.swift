// SPDX-License-Identifier: Apache-2.0
private import Synchronization

/// The jobs that a worker holds, from the claim to the accepted outcome: waiting for a slot,
/// on a slot, ended and not handed in yet.
///
/// Slots reach it without a hop to the runner's actor: a job that takes 20 µs must not cost 100.
final class Workbench: Sendable {
    /// One claimed job.
    struct Entry: Sendable {
        let job: Job
        let session: Session
        let trust: Trust
        let context: JobContext
        let claimedAt: ContinuousClock.Instant
        var startedAt: ContinuousClock.Instant?

        init(_ job: Job, _ session: Session, _ trust: Trust) {
            self.job = job
            self.session = session
            self.trust = trust
            context = JobContext(job, trust: trust)
            claimedAt = .now
        }
    }

    struct Ended: Sendable {
        let entry: Entry
        let ending: Queue.Ending
        let took: Duration
    }

    private struct State {
        var waiting: [Entry] = []
        var waitingFrom = 0
        var running: [Int: Entry] = [:]
        var freeSlots: [Int]
        var ended: [Ended] = []
        /// Leases of outcomes, and of jobs that are given back, that are on their way.
        var settling: [Int: String] = [:]

        var waitingCount: Int { waiting.count - waitingFrom }
    }
    private let state: Mutex<State>

    init(slots: Int) { state = Mutex(State(freeSlots: Array(0..<slots))) }

    struct Load: Sendable {
        let waiting: Int
        let running: Int
        let free: Int
        let ended: Int
        let settling: Int
        let longestRun: Duration

        var isEmpty: Bool { waiting + running + ended + settling == 0 }
    }

    var load: Load {
        state.withLock { state in
            let now = ContinuousClock.now
            return Load(
                waiting: state.waitingCount,
                running: state.running.count,
                free: state.freeSlots.count,
                ended: state.ended.count,
                settling: state.settling.count,
                longestRun: state.running.values.map { now - ($0.startedAt ?? now) }.max() ?? .zero
            )
        }
    }

    /// Adds claimed jobs and returns the free slots that are to work on them.
    func add(_ entries: [Entry]) -> [Int] {
        state.withLock { state in
            state.waiting += entries
            let staffed = state.freeSlots.suffix(state.waitingCount)
            state.freeSlots.removeLast(staffed.count)
            return Array(staffed)
        }
    }

    /// The slot's next job; nil when there is none, and then the slot is free.
    func next(_ slot: Int) -> Entry? {
        state.withLock { state in
            guard state.waitingCount > 0 else {
                state.freeSlots.append(slot)
                return nil
            }
            var entry = state.waiting[state.waitingFrom]
            state.waitingFrom += 1
            if state.waitingFrom == state.waiting.count {
                state.waiting.removeAll(keepingCapacity: true)
                state.waitingFrom = 0
            }
            entry.startedAt = .now
            state.running[slot] = entry
            return entry
        }
    }

    enum Next: Sendable {
        /// The slot was given to others meanwhile.
        case abandoned
        case continues(ended: Int, waiting: Int, took: Duration)
    }

    /// The job on the slot has ended.
    func end(_ slot: Int, _ entry: Entry, _ ending: Queue.Ending) -> Next {
        state.withLock { state in
            guard state.running[slot]?.job.lease == entry.job.lease else { return .abandoned }
            state.running[slot] = nil
            let took = ContinuousClock.now - (entry.startedAt ?? entry.claimedAt)
            state.ended.append(Ended(entry: entry, ending: ending, took: took))
            return .continues(ended: state.ended.count, waiting: state.waitingCount, took: took)
        }
    }

    /// Ends a job for a handler that does not, and takes its slot away from it; false when it has
    /// ended by itself.
    func abandon(_ slot: Int, lease: Int, _ ending: Queue.Ending) -> Bool {
        state.withLock { state in
            // It may have returned at last, and the slot be at another job.
            guard let entry = state.running[slot], entry.job.lease == lease else { return false }
            state.running[slot] = nil
            let took = ContinuousClock.now - (entry.startedAt ?? entry.claimedAt)
            state.ended.append(Ended(entry: entry, ending: ending, took: took))
            state.freeSlots.append(slot)
            return true
        }
    }

    /// Outcomes to hand in; held until `settled` is called.
    func takeEnded(atMost count: Int) -> [Ended] {
        state.withLock { state in
            let taken = Array(state.ended.prefix(count))
            state.ended.removeFirst(taken.count)
            for item in taken { state.settling[item.entry.job.lease] = item.entry.session.id }
            return taken
        }
    }

    /// Jobs that are given back before they were waiting; until `settled` is called.
    func hold(_ entries: [Entry]) {
        state.withLock { state in
            for entry in entries { state.settling[entry.job.lease] = entry.session.id }
        }
    }

    func settled(_ entries: some Sequence<Entry>) {
        state.withLock { state in
            for entry in entries { state.settling[entry.job.lease] = nil }
        }
    }

    /// Jobs that no slot has begun, to be given back; all of them, or those claimed long enough ago.
    ///
    /// Held until `settled` is called.
    func takeWaiting(olderThan age: Duration = .zero) -> [Entry] {
        state.withLock { state in
            let now = ContinuousClock.now
            let rest = state.waiting[state.waitingFrom...]
            let taken = rest.filter { now - $0.claimedAt >= age }
            state.waiting = rest.filter { now - $0.claimedAt < age }
            state.waitingFrom = 0
            for entry in taken { state.settling[entry.job.lease] = entry.session.id }
            return taken
        }
    }

    var running: [Int: Entry] { state.withLock { $0.running } }

    /// Every lease of the session that the server must not give to others.
    func leases(of session: Session) -> [Int] {
        state.withLock { state in
            let entries =
                state.waiting[state.waitingFrom...] + state.running.values
                + state.ended.map(\.entry)
            return entries.filter { $0.session.id == session.id }.map(\.job.lease)
                + state.settling.filter { $0.value == session.id }.map(\.key)
        }
    }

    /// Tells a job to stop; one that has not begun will when it does.
    func requestStop(_ reason: JobContext.Stop, lease: Int? = nil) {
        state.withLock { state in
            for entry in state.waiting[state.waitingFrom...] + state.running.values
            where lease == nil || entry.job.lease == lease {
                entry.context.requestStop(reason)
            }
        }
    }
}
