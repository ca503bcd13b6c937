// SPDX-License-Identifier: Apache-2.0
private import Synchronization

/// How long a session can still be ours, by our own clock.
///
/// That is the time at which the last good heartbeat was *sent*, plus the session's time to live,
/// less a margin: however slow the round trip, the database's idea of the end is later. Past it
/// nothing may be touched any more, in Postgres or in Redis, until a new session is open.
/// The clock goes on while the process is stopped.
final class Trust: Sendable {
    private let until: Mutex<ContinuousClock.Instant>

    init(from sent: ContinuousClock.Instant, ttl: Duration) {
        until = Mutex(Self.end(sent, ttl))
    }

    var end: ContinuousClock.Instant { until.withLock { $0 } }

    var isOver: Bool { ContinuousClock.now >= end }

    func renew(from sent: ContinuousClock.Instant, ttl: Duration) {
        until.withLock { $0 = max($0, Self.end(sent, ttl)) }
    }

    /// The session is known to be lost.
    func revoke() { until.withLock { $0 = .now } }

    private static func end(
        _ sent: ContinuousClock.Instant,
        _ ttl: Duration
    ) -> ContinuousClock.Instant { sent + ttl - ttl / 9 }
}
