// SPDX-License-Identifier: Apache-2.0
import Logging
private import Postgres

/// Handing in what became of jobs, up to 500 at a time.
extension JobRunner {
    func settleLoop() async {
        for await _ in settle.raised {
            while await settleBatch() { wake.raise() }
        }
    }

    /// False when there was nothing to hand in.
    private func settleBatch() async -> Bool {
        let ended = bench.takeEnded(atMost: ClaimPlan.largestBatch)
        guard !ended.isEmpty else { return false }
        learn(ended)
        // A lost curve is no reason to lose the result.
        await report(ended.map(\.entry))
        // One session at a time: outcomes of one that was lost are dropped.
        for (_, batch) in Dictionary(grouping: ended, by: \.entry.session.id) {
            await settle(batch)
        }
        bench.settled(ended.map(\.entry))
        return true
    }

    private func settle(_ batch: [Workbench.Ended]) async {
        guard let first = batch.first?.entry else { return }
        if first.trust.isOver {
            for item in batch {
                logger.warning("job lost: its session is over", metadata: item.metadata)
            }
            return
        }
        var given: [Workbench.Entry] = []
        var finished: [Workbench.Ended] = []
        for item in batch {
            let stop: JobContext.Stop? =
                if case .failed = item.ending { item.entry.context.stop } else { nil }
            switch stop {
            case .revoked: logger.warning("job lost to another worker", metadata: item.metadata)
            case .draining: given.append(item.entry)
            default: finished.append(item)
            }
        }
        let kept = await giveBack(given)
        // One that was cancelled meanwhile cannot be given back; it ends here.
        finished += batch.filter { kept.contains($0.entry.job.id) }
        if !finished.isEmpty { await finish(finished, first.session, first.trust) }
    }

    private func finish(
        _ batch: [Workbench.Ended],
        _ session: Session,
        _ trust: Trust
    ) async {
        do {
            // What waited for one of these may have a low id.
            if batch.contains(where: { $0.entry.job.runID != nil }) { lookAgain() }
            let endings = batch.map { ($0.entry.job, $0.ending) }
            let accepted = try await retrying(trust) { () throws(JobsError) in
                // With the next claim in the same transaction, if one is due.
                if !endings.contains(where: { $0.1.fanOut != nil }),
                    let request = beginClaim(for: session)
                {
                    defer { endClaim() }
                    let (accepted, jobs) = try await queue.finish(
                        endings,
                        claiming: request,
                        by: session
                    )
                    receive(jobs, request, session, trust)
                    return accepted
                }
                return try await queue.finish(endings, by: session)
            }
            for item in batch { log(accepted[item.entry.job.id], item.metadata) }
            let groups = Set(
                batch.compactMap { accepted[$0.entry.job.id] == nil ? nil : $0.entry.job.groupID }
            )
            let hasFailures = accepted.values.contains { $0 == "failed" || $0 == "cancelled" }
            do {
                try await queue.settle(groups: groups, hasFailures: hasFailures)
                if !groups.isEmpty { lookAgain() }
            } catch {
                logger.debug("left to the sweep", metadata: ["error": "\(error)"])
            }
        } catch .postgres(let error, _) where !error.isTransient && batch.count > 1 {
            // One of them is refused by the server, and took the others with it.
            for item in batch { await finish([item], session, trust) }
        } catch .postgres(let error, _) where !error.isTransient {
            await refuse(batch[0], error, session, trust)
        } catch {
            for item in batch {
                var metadata = item.metadata
                metadata["error"] = "\(error)"
                logger.error("outcome could not be recorded", metadata: metadata)
            }
        }
    }

    /// The server refuses this very result; without an ending the job would be run again and again.
    private func refuse(
        _ item: Workbench.Ended,
        _ error: PostgresError,
        _ session: Session,
        _ trust: Trust
    ) async {
        var metadata = item.metadata
        metadata["error"] = "\(error)"
        let ending: Queue.Ending =
            error.isJoinGone
            ? .failed(error.message, .fatal)
            : .failed("its result was refused: \(error)", .retryable)
        do {
            let accepted = try await retrying(trust) { () throws(JobsError) in
                try await queue.finish([(item.entry.job, ending)], by: session)
            }
            log(accepted[item.entry.job.id], metadata)
        } catch {
            metadata["error"] = "\(error)"
            logger.error("outcome could not be recorded", metadata: metadata)
        }
    }

    /// Gives back jobs that no slot has begun.
    ///
    /// They stay ours until the server has them: a worker that takes itself for empty may run what
    /// kills it, and would take them with it.
    func giveBackWaiting(olderThan age: Duration = .zero) async {
        await giveBackHeld(bench.takeWaiting(olderThan: age))
    }

    /// Gives back jobs that the bench holds until then.
    func giveBackHeld(_ entries: [Workbench.Entry]) async {
        let kept = await giveBack(entries)
        // One that was cancelled meanwhile cannot be given back; it ends here.
        let ended = entries.filter { kept.contains($0.job.id) }.map {
            Workbench.Ended(entry: $0, ending: .failed("stopped", .retryable), took: .zero)
        }
        if let first = ended.first?.entry { await finish(ended, first.session, first.trust) }
        bench.settled(entries)
    }

    /// Returns the jobs that had to be kept, because they are to be cancelled.
    private func giveBack(_ entries: [Workbench.Entry]) async -> Set<Int> {
        guard let first = entries.first else { return [] }
        do {
            let released = Set(
                try await retrying(first.trust) { () throws(JobsError) in
                    try await queue.release(entries.map(\.job.lease), by: first.session)
                }
            )
            for entry in entries where released.contains(entry.job.id) {
                logger.info("job given back", metadata: entry.job.metadata)
            }
            return Set(entries.map(\.job.id)).subtracting(released)
        } catch {
            logger.warning("jobs could not be given back", metadata: ["error": "\(error)"])
            return []
        }
    }

    private func log(_ outcome: String?, _ metadata: Logger.Metadata) {
        switch outcome {
        case "succeeded": logger.info("job succeeded", metadata: metadata)
        case "later": logger.debug("job goes on later", metadata: metadata)
        case "cancelled": logger.info("job cancelled", metadata: metadata)
        case "retry", "resource": logger.warning("job will be tried again", metadata: metadata)
        case nil: logger.warning("result refused: the job is not ours", metadata: metadata)
        default: logger.error("job failed", metadata: metadata)
        }
    }

    /// Tries again while the server is away, for as long as the session can still be ours.
    private func retrying<T: Sendable>(
        _ trust: Trust,
        _ body: () async throws(JobsError) -> T
    ) async throws(JobsError) -> T {
        while true {
            do {
                return try await body()
            } catch .postgres(let error, let action) where error.isTransient {
                guard !trust.isOver else { throw .postgres(error, while: action) }
                try? await Task.sleep(for: .milliseconds(200))
            }
        }
    }

    func reportLoop() async {
        while !Task.isCancelled {
            await report(Array(bench.running.values))
            try? await Task.sleep(for: .seconds(1))
        }
    }

    /// What cannot be sent now is sent with the next reports of the job.
    private func report(_ entries: [Workbench.Entry]) async {
        let reports = entries.filter { !$0.trust.isOver }.map { ($0, $0.context.takeReports()) }
        do {
            try await queue.record(reports.map { ($0.0.job, $0.1) })
        } catch .postgres(let error, _) where error.isTransient {
            for (entry, report) in reports { entry.context.putBack(report) }
            logger.warning("reports are late", metadata: ["error": "\(error)"])
        } catch {
            // Refused, and would be again.
            logger.warning("reports were lost", metadata: ["error": "\(error)"])
        }
    }
}

extension Workbench.Ended {
    var metadata: Logger.Metadata {
        var metadata = entry.job.metadata
        if case .failed(let error, _) = ending { metadata["error"] = "\(error)" }
        return metadata
    }
}
