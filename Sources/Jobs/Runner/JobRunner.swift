// SPDX-License-Identifier: Apache-2.0
import Executors
package import Logging
package import Postgres
import Synchronization
private import Foundation

/// Claims jobs and runs them on compute slots, one serial queue each, until it is drained.
///
/// Four connections, so that nothing waits behind anything: one for heartbeats alone, one for
/// claims, results and reports, one for upkeep, one that listens.
package actor JobRunner {
    package struct Settings: Sendable {
        package var queue = "default"
        package var slots = 1
        /// Leave when the queue has nothing left to claim, instead of waiting for more.
        package var exitsWhenEmpty = false
        package var ttl: Duration = .seconds(45)
        package var heartbeatInterval: Duration = .seconds(15)
        package var pollInterval: Duration = .seconds(1)
        /// Whether to wait for notifications beside polling.
        package var listens = true
        /// How long a drain lets running jobs finish before it gives them back.
        package var drainGrace: Duration = .seconds(10)
        /// Kinds that begin so often that it is no news.
        package var quietKinds: Set<String> = []
        /// How long a handler may ignore a request to stop before its slot is taken from it.
        package var stuckAfter: Duration = .seconds(30)

        package init() {}
    }

    let settings: Settings
    let queue: Queue
    let heart: Queue
    let upkeep: Queue
    let listener: Client
    let handler: any JobHandler
    let logger: Logger
    let bench: Workbench
    private let slots: Mutex<[SerialQueueExecutor]>
    let wake: Signal
    let settle: Signal

    var session: Session
    var trust: Trust
    private var plan: ClaimPlan
    private var isDraining = false
    /// One claim at a time: two that both see the one free slot would fill it twice.
    private(set) var isClaiming = false
    /// What the database's clock said last, in microseconds since 1970 (a standby's may be behind);
    /// and as it was known when the claim at hand was asked for, so that its outcome is not taken for
    /// lost while it is on its way.
    var databaseTime: Int?
    private(set) var timeOfClaim: Int?
    private var wasAskedMeanwhile = false
    /// Whether the last heartbeat was answered.
    var isHeard = true
    /// Everything else waits until quarantined jobs have run alone.
    var quarantine: Quarantine?

    struct Quarantine {
        let since: ContinuousClock.Instant = .now
        /// Worth waiting for what runs, however long.
        let isPatient: Bool
        /// When there was nothing else any more.
        var aloneSince: ContinuousClock.Instant?
    }
    /// When a handler was first seen to ignore a request to stop, by lease.
    var ignoredSince: [Int: ContinuousClock.Instant] = [:]

    package init(
        _ settings: Settings,
        database: ConnectionSettings,
        handler: any JobHandler,
        logger: Logger
    ) {
        self.settings = settings
        self.handler = handler
        self.logger = logger
        queue = Queue(Client(database))
        upkeep = Queue(Client(database))
        // A heartbeat that takes long is as good as none: it must fail while there is time left.
        var impatient = database
        impatient.connectTimeout = .seconds(5)
        impatient.statementTimeout = settings.ttl / 9
        heart = Queue(Client(impatient))
        // Nor may a drain wait long for a listener whose network has gone.
        impatient.statementTimeout = .seconds(2)
        listener = Client(impatient)
        bench = Workbench(slots: settings.slots)
        slots = Mutex((0..<settings.slots).map { SerialQueueExecutor(label: "larder.slot.\($0)") })
        wake = Signal()
        settle = Signal()
        plan = ClaimPlan(slots: settings.slots)
        session = Self.newSession(slots: settings.slots)
        trust = Trust(from: .now, ttl: .zero)
    }

    /// Returns when drained, or when the queue is empty if so set; by then every job it claimed
    /// is finished or given back.
    package func run() async throws {
        try await openSession()
        logger.info(
            "worker started",
            metadata: [
                "session": "\(session.id)", "queue": "\(settings.queue)",
                "slots": "\(settings.slots)",
            ]
        )
        await withTaskGroup(of: Void.self) { group in
            group.addTask { await self.heartbeatLoop() }
            group.addTask { await self.trustLoop() }
            group.addTask { await self.upkeepLoop() }
            group.addTask { await self.watchLoop() }
            group.addTask { await self.reportLoop() }
            group.addTask { await self.settleLoop() }
            if settings.listens { group.addTask { await self.listenLoop() } }
            group.addTask { await self.pollLoop() }
            await claimLoop()
            group.cancelAll()
        }
        do {
            // Only after SIGQUIT: what still runs is given up, and its results will be refused.
            try await queue.release(bench.leases(of: session), by: session)
            try await heart.close(session)
        } catch {
            logger.warning("session left to expire", metadata: ["error": "\(error)"])
        }
        logger.info("worker stopped", metadata: ["session": "\(session.id)"])
    }

    /// Takes no more jobs; those that run get `drainGrace` to finish, then are given back.
    package func drain() {
        guard !isDraining else { return }
        isDraining = true
        logger.info("draining", metadata: ["running": "\(bench.load.running)"])
        let grace = settings.drainGrace
        let session = session
        // Outlives this call on purpose: it is the alarm clock of the drain.
        Task {
            await self.giveBackWaiting()
            self.wake.raise()
            do {
                try await self.queue.markDraining(session)
            } catch {
                self.logger.warning("drain not announced", metadata: ["error": "\(error)"])
            }
            try? await Task.sleep(for: grace)
            self.bench.requestStop(.draining)
        }
    }

    // MARK: claiming

    private func claimLoop() async {
        wake.raise()
        for await _ in wake.raised {
            if isDraining {
                if bench.load.isEmpty { return }
                continue
            }
            do {
                if try await !claim(), bench.load.isEmpty, settings.exitsWhenEmpty,
                    try await queue.isEmpty(settings.queue, for: session)
                {
                    return
                }
            } catch {
                logger.warning("claim failed", metadata: ["error": "\(error)"])
            }
        }
    }

    /// False when there was nothing to claim.
    private func claim() async throws(JobsError) -> Bool {
        if quarantine != nil { return try await claimAlone() }
        let (session, trust) = (session, trust)
        guard let request = beginClaim(for: session) else { return true }
        defer { endClaim() }
        let sent = ContinuousClock.now
        let jobs = try await queue.claim(request, for: session)
        receive(jobs, request, in: .now - sent, session, trust)
        return !jobs.isEmpty
    }

    /// What to claim now, and nothing else until `endClaim`; nil when there is enough, or nothing
    /// may be claimed.
    func beginClaim(for session: Session) -> Queue.ClaimRequest? {
        guard session.id == self.session.id, !trust.isOver, !isDraining, quarantine == nil
        else { return nil }
        guard !isClaiming else {
            wasAskedMeanwhile = true
            return nil
        }
        let load = bench.load
        // Outcomes that cannot be handed in must not pile up.
        guard load.ended + load.settling < 2 * ClaimPlan.largestBatch else { return nil }
        let count = plan.count(
            waiting: load.waiting,
            freeSlots: load.free,
            isBusyWithLong: load.longestRun > .seconds(1)
        )
        guard count > 0 else { return nil }
        noteClaim()
        return Queue.ClaimRequest(
            count: count,
            queue: settings.queue,
            watermark: plan.watermark
        )
    }

    private func noteClaim() {
        isClaiming = true
        timeOfClaim = databaseTime
    }

    func endClaim() {
        isClaiming = false
        if wasAskedMeanwhile { wake.raise() }
        wasAskedMeanwhile = false
    }

    /// Puts claimed jobs to work.
    func receive(
        _ jobs: [Job],
        _ request: Queue.ClaimRequest,
        in took: Duration? = nil,
        _ session: Session,
        _ trust: Trust
    ) {
        plan.claimed(jobs.map(\.place), behind: request.watermark, in: took)
        guard begin(jobs, session, trust) else { return }
        if jobs.count == request.count || request.watermark > plan.watermark { wake.raise() }
    }

    /// False where they are not ours any more.
    private func begin(_ jobs: [Job], _ session: Session, _ trust: Trust) -> Bool {
        // A reply that comes after our time is nobody's; the jobs are rescued.
        guard !trust.isOver, session.id == self.session.id else { return false }
        if isDraining {
            // The drain has given back all that it knew of.
            let entries = jobs.map { Workbench.Entry($0, session, trust) }
            bench.hold(entries)
            Task {
                await self.giveBackHeld(entries)
                self.wake.raise()
            }
        } else {
            start(jobs)
        }
        return true
    }

    /// Quarantined jobs, one after the other for a few seconds, with nothing beside them.
    private func claimAlone() async throws(JobsError) -> Bool {
        guard var state = quarantine, !trust.isOver else { return true }
        let now = ContinuousClock.now
        let isAlone = bench.load.isEmpty
        if isAlone {
            state.aloneSince = state.aloneSince ?? now
            quarantine = state
        }
        if let since = state.aloneSince {
            guard isAlone else { return true }
            if now - since < .seconds(5) {
                guard !isClaiming else {
                    wasAskedMeanwhile = true
                    return true
                }
                let (session, trust) = (session, trust)
                let request = Queue.ClaimRequest(count: 1, queue: settings.queue, alone: true)
                noteClaim()
                defer { endClaim() }
                let jobs = try await queue.claim(request, for: session)
                if !jobs.isEmpty, begin(jobs, session, trust) { return true }
            }
        } else if state.isPatient || now - state.since < .seconds(10) {
            return true
        }
        quarantine = nil
        wake.raise()
        return true
    }

    private func start(_ jobs: [Job]) {
        for slot in bench.add(jobs.map { Workbench.Entry($0, session, trust) }) {
            let executor = slots.withLock { $0[slot] }
            // Unstructured because its end is accepted or refused by Postgres, not by this scope;
            // the claim loop does not return before the bench is empty. Detached because a task of
            // this actor's would come back to it in the end, on the slot's thread: behind the slot's
            // next job, if that has begun, and with it everything else the actor has to do.
            Task.detached(executorPreference: executor) { await self.work(slot) }
        }
    }

    /// On the slot's thread: the preference of the task applies to @concurrent functions.
    @concurrent private nonisolated func work(_ slot: Int) async {
        while let entry = bench.next(slot) {
            let level: Logger.Level = settings.quietKinds.contains(entry.job.kind) ? .debug : .info
            if logger.logLevel <= level {
                logger.log(level: level, "job started", metadata: entry.job.metadata)
            }
            let ending = await execute(entry.context)
            switch bench.end(slot, entry, ending) {
            case .abandoned: return
            case .continues(let ended, let waiting, let took):
                // A long job's outcome is handed in at once, short ones' in batches: the settle
                // loop looks by itself four times a second.
                if ended >= ClaimPlan.largestBatch || took > .milliseconds(250) { settle.raise() }
                if waiting > 0, waiting.isMultiple(of: 64) { wake.raise() }
            }
        }
        settle.raise()
        wake.raise()
    }

    @concurrent private nonisolated func execute(_ context: JobContext) async -> Queue.Ending {
        do {
            // One that was cancelled or lost while it waited for its slot is not begun.
            try context.checkStop()
            let result = try await handler.run(context.job, context)
            if let problem = result.fanOut?.problem(of: context.job) {
                return .failed(problem, .fatal)
            }
            return .succeeded(result)
        } catch let error as FatalJobError {
            return .failed(error.description, .fatal)
        } catch let error as ResourceJobError {
            return .failed(error.description, .resource)
        } catch is CancellationError {
            return .failed(
                context.stop == .stalled
                    ? "reported nothing for \(context.job.stallAfter ?? .zero)" : "stopped",
                .retryable
            )
        } catch {
            return .failed("\(error)", .retryable)
        }
    }

    /// There is something to claim, maybe with a low id.
    func lookAgain() {
        plan.rescan()
        wake.raise()
    }

    func learn(_ ended: [Workbench.Ended]) {
        // A look that is to be repeated says nothing of how long the others are.
        for item in ended where !item.ending.goesOn { plan.ended(after: item.took) }
    }

    /// A new thread for the slot; the old one belongs to a handler that does not return.
    func replaceExecutor(of slot: Int) {
        slots.withLock { $0[slot] = SerialQueueExecutor(label: "larder.slot.\(slot)") }
    }

    static func newSession(slots: Int) -> Session {
        Session(
            id: UUID().uuidString.lowercased(),
            host: ProcessInfo.processInfo.hostName,
            pid: Int(ProcessInfo.processInfo.processIdentifier),
            slots: slots
        )
    }
}

/// Wakes one loop; raised twice before the loop looks, it wakes it once.
struct Signal: Sendable {
    let raised: AsyncStream<Void>
    private let continuation: AsyncStream<Void>.Continuation

    init() {
        (raised, continuation) = AsyncStream.makeStream(bufferingPolicy: .bufferingNewest(1))
    }

    func raise() { continuation.yield() }
}

extension Job {
    var metadata: Logger.Metadata {
        var metadata: Logger.Metadata = [
            "job": "\(id)", "kind": "\(kind)", "name": "\(name)", "attempt": "\(attempt)",
        ]
        if let runID { metadata["run"] = "\(runID)" }
        return metadata
    }
}
