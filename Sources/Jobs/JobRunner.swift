// SPDX-License-Identifier: Apache-2.0
import Executors
package import Logging
package import Postgres
private import Foundation

/// Claims jobs and runs them on compute slots, one serial queue each, until it is drained.
///
/// Three connections, so that nothing waits behind anything: one for heartbeats alone, one for
/// claims, results and reports, one that listens.
package actor JobRunner {
    package struct Settings: Sendable {
        package var queue = "default"
        package var slots = 1
        /// Leave when the queue has nothing left to claim, instead of waiting for more.
        package var exitsWhenEmpty = false
        package var ttl: Duration = .seconds(45)
        package var heartbeatInterval: Duration = .seconds(15)
        package var pollInterval: Duration = .seconds(1)
        /// How long a drain lets running jobs finish before it gives them back.
        package var drainGrace: Duration = .seconds(10)

        package init() {}
    }

    private struct Running {
        let job: Job
        let session: Session
        let context: JobContext
        let slot: Int
    }

    private let settings: Settings
    private let queue: Queue
    private let heart: Queue
    private let listener: Client
    private let handler: any JobHandler
    private let logger: Logger
    private let slots: [SerialQueueExecutor]
    private let wakes: AsyncStream<Void>
    private let wake: AsyncStream<Void>.Continuation

    private var session: Session
    /// Our own clock's idea of when the session ends: time of the last good heartbeat's sending,
    /// plus the time to live, less a margin.
    ///
    /// After it nothing may be touched any more.
    private var trustedUntil: ContinuousClock.Instant = .now
    private var running: [Int: Running] = [:]
    private var freeSlots: [Int]
    private var isDraining = false

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
        // A heartbeat that takes long is as good as none: it must fail while there is time left.
        var impatient = database
        impatient.connectTimeout = .seconds(5)
        impatient.statementTimeout = settings.ttl / 9
        heart = Queue(Client(impatient))
        listener = Client(database)
        slots = (0..<settings.slots).map { SerialQueueExecutor(label: "larder.slot.\($0)") }
        freeSlots = Array(0..<settings.slots)
        (wakes, wake) = AsyncStream.makeStream(bufferingPolicy: .bufferingNewest(1))
        session = Self.newSession(slots: settings.slots)
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
            group.addTask { await self.maintenanceLoop() }
            group.addTask { await self.reportLoop() }
            group.addTask { await self.listenLoop() }
            group.addTask { await self.pollLoop() }
            await claimLoop()
            group.cancelAll()
        }
        do {
            // Only after SIGQUIT: what still runs is given up, and its results will be refused.
            try await queue.release(running.values.map(\.job.lease), by: session)
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
        logger.info("draining", metadata: ["running": "\(running.count)"])
        wake.yield()
        let grace = settings.drainGrace
        let session = session
        // Outlives this call on purpose: it is the alarm clock of the drain.
        Task {
            do {
                try await self.queue.markDraining(session)
            } catch {
                self.logger.warning("drain not announced", metadata: ["error": "\(error)"])
            }
            try? await Task.sleep(for: grace)
            self.stopAll(.draining)
        }
    }

    // MARK: loops

    private func claimLoop() async {
        wake.yield()
        for await _ in wakes {
            if isDraining {
                if running.isEmpty { return }
                continue
            }
            do {
                if try await !claim(), running.isEmpty, settings.exitsWhenEmpty,
                    try await queue.isEmpty(settings.queue)
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
        guard !freeSlots.isEmpty else { return true }
        let session = session
        let jobs = try await queue.claim(freeSlots.count, from: settings.queue, for: session)
        for job in jobs { start(job, session) }
        return !jobs.isEmpty
    }

    private func start(_ job: Job, _ session: Session) {
        let slot = freeSlots.removeLast()
        let context = JobContext(job)
        running[job.lease] = Running(job: job, session: session, context: context, slot: slot)
        logger.info("job started", metadata: job.metadata)
        // Unstructured because its end is accepted or refused by Postgres, not by this scope;
        // the claim loop does not return before `running` is empty.
        Task(executorPreference: slots[slot]) {
            let ending = await self.execute(context)
            await self.end(job, ending)
        }
    }

    /// On the slot's thread: the preference of the task applies to @concurrent functions.
    @concurrent private nonisolated func execute(_ context: JobContext) async -> Queue.Ending {
        do {
            return .succeeded(try await handler.run(context.job, context))
        } catch let error as FatalJobError {
            return .failed(error.description, retry: false)
        } catch is CancellationError {
            return .failed("stopped", retry: true)
        } catch {
            return .failed("\(error)", retry: true)
        }
    }

    private func end(_ job: Job, _ ending: Queue.Ending) async {
        guard let entry = running[job.lease] else { return }
        var metadata = job.metadata
        if case .failed(let error, _) = ending { metadata["error"] = "\(error)" }
        do {
            // A lost curve is no reason to lose the result.
            try await report([entry])
        } catch {
            logger.warning("reports were lost", metadata: ["error": "\(error)"])
        }
        do {
            try await settle(entry, ending, metadata)
        } catch {
            metadata["error"] = "\(error)"
            logger.error("outcome could not be recorded", metadata: metadata)
        }
        running[job.lease] = nil
        freeSlots.append(entry.slot)
        wake.yield()
    }

    private func settle(
        _ entry: Running,
        _ ending: Queue.Ending,
        _ metadata: Logger.Metadata
    ) async throws(JobsError) {
        let job = entry.job
        let session = entry.session
        let stop: JobContext.Stop? = if case .failed = ending { entry.context.stop } else { nil }
        if stop == .revoked {
            return logger.warning("job lost to another worker", metadata: metadata)
        }
        if stop == .draining {
            let released = try await retrying { () throws(JobsError) in
                try await queue.release([job.lease], by: session)
            }
            if released == 1 { return logger.info("job given back", metadata: metadata) }
        }
        do {
            log(
                try await retrying { () throws(JobsError) in
                    try await queue.finish(job, ending, by: session)
                },
                metadata
            )
        } catch {
            // The server refuses this very result; without an ending the job would be run again
            // and again, its attempt refunded each time.
            let refused = Queue.Ending.failed("its result was refused: \(error)", retry: true)
            log(try await queue.finish(job, refused, by: session), metadata)
        }
    }

    private func log(_ outcome: String?, _ metadata: Logger.Metadata) {
        switch outcome {
        case "succeeded": logger.info("job succeeded", metadata: metadata)
        case "cancelled": logger.info("job cancelled", metadata: metadata)
        case "retry": logger.warning("job will be tried again", metadata: metadata)
        case nil: logger.warning("result refused: the job is not ours", metadata: metadata)
        default: logger.error("job failed", metadata: metadata)
        }
    }

    /// Tries again while the server is away, for as long as the session can still be ours.
    private func retrying<T: Sendable>(
        _ body: () async throws(JobsError) -> T
    ) async throws(JobsError) -> T {
        while true {
            do {
                return try await body()
            } catch .postgres(let error, let action) where error.isTransient {
                guard ContinuousClock.now < trustedUntil else {
                    throw .postgres(error, while: action)
                }
                try? await Task.sleep(for: .milliseconds(200))
            }
        }
    }

    private func heartbeatLoop() async {
        while !Task.isCancelled {
            try? await Task.sleep(for: settings.heartbeatInterval)
            if Task.isCancelled { return }
            await heartbeat()
        }
    }

    /// Stops everything when our own clock says that the session can be over, whatever the
    /// heartbeat is waiting for.
    private func trustLoop() async {
        while !Task.isCancelled {
            try? await Task.sleep(until: trustedUntil, clock: .continuous)
            guard ContinuousClock.now >= trustedUntil else { continue }
            if Task.isCancelled { return }
            stopAll(.revoked)
            try? await Task.sleep(for: settings.pollInterval)
        }
    }

    private func heartbeat() async {
        let sent = ContinuousClock.now
        let held = running.values.filter { $0.session.id == session.id }.map(\.job.lease)
        do {
            let verdicts = try await heart.heartbeat(
                session,
                leases: held,
                ttl: settings.ttl,
                grace: settings.heartbeatInterval
            )
            if verdicts.contains(.sessionLost) { return try await replaceSession() }
            trust(from: sent)
            for verdict in verdicts { obey(verdict) }
        } catch {
            logger.warning("heartbeat failed", metadata: ["error": "\(error)"])
        }
    }

    private func obey(_ verdict: Queue.Verdict) {
        switch verdict {
        case .revoked(let lease): running[lease]?.context.requestStop(.revoked)
        case .cancelled(let lease): running[lease]?.context.requestStop(.cancelled)
        case .requeued(let job):
            logger.warning("lost claim given back", metadata: ["job": "\(job)"])
        case .sessionLost: break
        }
    }

    private func replaceSession() async throws {
        logger.error("session expired; starting another", metadata: ["session": "\(session.id)"])
        stopAll(.revoked)
        session = Self.newSession(slots: settings.slots)
        try await openSession()
    }

    private func openSession() async throws(JobsError) {
        let sent = ContinuousClock.now
        try await heart.open(session, ttl: settings.ttl)
        trust(from: sent)
    }

    private func trust(from sent: ContinuousClock.Instant) {
        trustedUntil = sent + settings.ttl - settings.ttl / 9
    }

    private func stopAll(_ reason: JobContext.Stop) {
        for entry in running.values { entry.context.requestStop(reason) }
    }

    /// Every worker does this; SKIP LOCKED keeps them out of each other's way.
    private func maintenanceLoop() async {
        var tick = 0
        while !Task.isCancelled {
            do {
                if try await queue.promote() > 0 { wake.yield() }
                try await queue.closeGroups()
                if tick % 5 == 0 {
                    for rescued in try await queue.rescue() {
                        logger.warning(
                            "job rescued",
                            metadata: [
                                "job": "\(rescued.job)", "reason": "\(rescued.reason)",
                                "spent": "\(rescued.spent)",
                            ]
                        )
                        wake.yield()
                    }
                    try await queue.cascade()
                }
            } catch {
                logger.warning("maintenance failed", metadata: ["error": "\(error)"])
            }
            tick += 1
            try? await Task.sleep(for: settings.pollInterval * Double.random(in: 0.7...1.3))
        }
    }

    private func reportLoop() async {
        while !Task.isCancelled {
            do {
                try await report(Array(running.values))
            } catch {
                logger.warning("reports were lost", metadata: ["error": "\(error)"])
            }
            try? await Task.sleep(for: .seconds(1))
        }
    }

    private func report(_ entries: [Running]) async throws(JobsError) {
        try await queue.record(entries.map { ($0.job, $0.context.takeReports()) })
    }

    private func listenLoop() async {
        var isListening = false
        while !Task.isCancelled {
            do {
                if !isListening { try await listener.listen(Queue.readyChannel) }
                isListening = true
                let queues = try await listener.notifications(within: .milliseconds(250))
                if !queues.isEmpty { wake.yield() }
            } catch {
                // The poll goes on without it.
                logger.debug("not listening", metadata: ["error": "\(error)"])
                try? await Task.sleep(for: settings.pollInterval)
            }
        }
    }

    private func pollLoop() async {
        while !Task.isCancelled {
            try? await Task.sleep(for: settings.pollInterval * Double.random(in: 0.7...1.3))
            wake.yield()
        }
    }

    private static func newSession(slots: Int) -> Session {
        Session(
            id: UUID().uuidString.lowercased(),
            host: ProcessInfo.processInfo.hostName,
            pid: Int(ProcessInfo.processInfo.processIdentifier),
            slots: slots
        )
    }
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
