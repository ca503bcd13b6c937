// SPDX-License-Identifier: Apache-2.0
import Logging
private import Postgres

/// Keeping the session, and stopping when it may be lost.
extension JobRunner {
    func openSession() async throws(JobsError) {
        let sent = ContinuousClock.now
        try await queue.open(session, ttl: settings.ttl)
        trust = Trust(from: sent, ttl: settings.ttl)
    }

    func heartbeatLoop() async {
        while !Task.isCancelled {
            // One that failed took a part of the time that is left: not again a whole interval.
            let pause =
                isHeard ? settings.heartbeatInterval : min(.seconds(1), settings.heartbeatInterval)
            try? await Task.sleep(for: pause)
            if Task.isCancelled { return }
            await heartbeat()
        }
    }

    /// Wakes up when our own clock says that the session can be over, whatever the heartbeat is
    /// waiting for: jobs that wait for a slot are dropped, those that run have been told by `Trust`.
    func trustLoop() async {
        while !Task.isCancelled {
            try? await Task.sleep(until: trust.end, clock: .continuous)
            guard trust.isOver else { continue }
            if Task.isCancelled { return }
            bench.requestStop(.revoked)
            try? await Task.sleep(for: settings.pollInterval)
        }
    }

    func heartbeat() async {
        let sent = ContinuousClock.now
        let (session, trust) = (session, trust)
        do {
            let verdicts = try await heart.heartbeat(
                session,
                leases: bench.leases(of: session),
                ttl: settings.ttl,
                knownBefore: isClaiming ? timeOfClaim : databaseTime
            )
            // A cancel's heartbeat may run beside the regular one, and replace it first.
            guard session.id == self.session.id else { return }
            if verdicts.contains(.sessionLost) { return try await replaceSession() }
            trust.renew(from: sent, ttl: settings.ttl)
            isHeard = true
            for verdict in verdicts { obey(verdict) }
        } catch {
            isHeard = false
            logger.warning("heartbeat failed", metadata: ["error": "\(error)"])
        }
    }

    private func obey(_ verdict: Queue.Verdict) {
        switch verdict {
        case .clock(let time): databaseTime = time
        case .revoked(let lease): bench.requestStop(.revoked, lease: lease)
        case .cancelled(let lease): bench.requestStop(.cancelled, lease: lease)
        case .requeued(let job):
            logger.warning("lost claim given back", metadata: ["job": "\(job)"])
        case .sessionLost: break
        }
    }

    private func replaceSession() async throws(JobsError) {
        logger.error("session expired; starting another", metadata: ["session": "\(session.id)"])
        trust.revoke()
        bench.requestStop(.revoked)
        session = Self.newSession(slots: settings.slots)
        try await openSession()
        isHeard = true
        wake.raise()
    }

    func listenLoop() async {
        var isListening = false
        while !Task.isCancelled {
            do {
                if !isListening {
                    try await listener.listen(Queue.readyChannel)
                    try await listener.listen(Queue.cancelChannel)
                }
                isListening = true
                let channels = try await listener.notifications(within: .milliseconds(250))
                if channels.contains(Queue.readyChannel) { lookAgain() }
                if channels.contains(Queue.cancelChannel) { await heartbeat() }
            } catch {
                // The poll goes on without it.
                logger.debug("not listening", metadata: ["error": "\(error)"])
                try? await Task.sleep(for: settings.pollInterval)
            }
        }
    }
}
