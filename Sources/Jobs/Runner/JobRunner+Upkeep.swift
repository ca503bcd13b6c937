// SPDX-License-Identifier: Apache-2.0
import Logging

/// What goes on beside the jobs.
extension JobRunner {
    func pollLoop() async {
        while !Task.isCancelled {
            try? await Task.sleep(for: settings.pollInterval * Double.random(in: 0.7...1.3))
            wake.raise()
        }
    }

    /// Looks after this worker's own jobs, four times a second.
    func watchLoop() async {
        var tick = 0
        while !Task.isCancelled {
            try? await Task.sleep(for: .milliseconds(250))
            settle.raise()
            // A short job behind a long one: others have time for it.
            await giveBackWaiting(olderThan: .seconds(3))
            for (slot, entry) in bench.running { watch(entry, on: slot) }
            ignoredSince = ignoredSince.filter { lease, _ in
                bench.running.values.contains { $0.job.lease == lease }
            }
            tick += 1
            if tick % 20 == 0 { await lookForQuarantine() }
        }
    }

    private func watch(_ entry: Workbench.Entry, on slot: Int) {
        let context = entry.context
        guard let stop = context.stop else {
            if let limit = entry.job.stallAfter, context.silence > limit {
                logger.warning("job stalled", metadata: entry.job.metadata)
                context.requestStop(.stalled)
            }
            return
        }
        let since = ignoredSince[entry.job.lease] ?? .now
        ignoredSince[entry.job.lease] = since
        guard ContinuousClock.now - since > settings.stuckAfter else { return }
        let ending = Queue.Ending.failed("ignored the request to stop (\(stop))", .retryable)
        guard bench.abandon(slot, lease: entry.job.lease, ending) else { return }
        // Swift cannot kill a thread: it is left behind, and the slot gets another.
        logger.error(
            "job ignores the request to stop; its slot is replaced",
            metadata: entry.job.metadata
        )
        replaceExecutor(of: slot)
        settle.raise()
        wake.raise()
    }

    private func lookForQuarantine() async {
        guard !trust.isOver else { return }
        do {
            if quarantine != nil {
                try await upkeep.holdQuarantine(settings.queue)
            } else if try await upkeep.entersQuarantine(
                settings.queue,
                isBusy: bench.load.longestRun > .seconds(1)
            ) {
                quarantine = Quarantine(isPatient: bench.load.longestRun > .seconds(1))
                await giveBackWaiting()
            }
        } catch {
            logger.debug("no look for quarantined jobs", metadata: ["error": "\(error)"])
        }
        wake.raise()
    }

    /// Every worker asks what is due; each chore is given to one of them.
    func upkeepLoop() async {
        while !Task.isCancelled {
            if !trust.isOver {
                do {
                    for chore in try await upkeep.takeChores() { await tryChore(chore) }
                } catch {
                    logger.warning("no upkeep", metadata: ["error": "\(error)"])
                }
            }
            try? await Task.sleep(for: settings.pollInterval * Double.random(in: 0.7...1.3))
        }
    }

    /// One that fails must not keep the others, which nobody else does this time, from being done.
    private func tryChore(_ chore: Queue.Chore) async {
        do {
            try await doChore(chore)
        } catch {
            logger.warning("upkeep failed", metadata: ["chore": "\(chore)", "error": "\(error)"])
        }
    }

    private func doChore(_ chore: Queue.Chore) async throws(JobsError) {
        switch chore {
        case .promote: if try await upkeep.promote() > 0 { lookAgain() }
        case .close: try await upkeep.closeGroups()
        case .schedules:
            for firing in try await upkeep.fireSchedules() {
                logger.info(
                    "schedule fired",
                    metadata: ["schedule": "\(firing.schedule)", "job": "\(firing.job)"]
                )
                wake.raise()
            }
        case .cascade: try await upkeep.cascade()
        case .announce: if try await upkeep.announce() > 0 { lookAgain() }
        case .rescue:
            for rescued in try await upkeep.rescue() {
                logger.warning(
                    "job rescued",
                    metadata: [
                        "job": "\(rescued.job)", "reason": "\(rescued.reason)",
                        "spent": "\(rescued.spent)", "quarantined": "\(rescued.quarantined)",
                    ]
                )
                lookAgain()
            }
        case .watch:
            for holder in try await upkeep.xminHolders() {
                logger.warning(
                    "dead rows cannot be removed; end this, or claims become slower",
                    metadata: ["holder": "\(holder.who)", "seconds": "\(Int(holder.seconds))"]
                )
            }
        case .clean:
            for what in try await upkeep.clean() {
                logger.info("archive", metadata: ["change": "\(what)"])
            }
        }
    }
}
