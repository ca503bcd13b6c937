// SPDX-License-Identifier: Apache-2.0
import Synchronization

/// Counts requests, how long they took, and whose lists they got.
final class ServerMeter: Sendable {
    /// Upper bounds in seconds.
    static let bounds = [0.0005, 0.001, 0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5]

    struct Lookup: Hashable {
        let feed: String
        let source: String
    }

    struct Request: Hashable {
        let route: String
        let status: Int
    }

    struct Histogram {
        /// Of each bound, and of what is longer.
        var counts = [Int](repeating: 0, count: ServerMeter.bounds.count + 1)
        var seconds = 0.0

        mutating func add(_ value: Double) {
            counts[ServerMeter.bounds.firstIndex { value <= $0 } ?? ServerMeter.bounds.count] += 1
            seconds += value
        }
    }

    struct Counts {
        var lookups: [Lookup: Int] = [:]
        var requests: [Request: Int] = [:]
        var times: [String: Histogram] = [:]
        var inFlight = 0
    }

    private let state = Mutex(Counts())

    var counts: Counts { state.withLock { $0 } }

    /// A list that was handed out; only of feeds that there are, so that nobody can fill this up.
    func count(_ feed: String, _ source: String) {
        state.withLock { $0.lookups[Lookup(feed: feed, source: source), default: 0] += 1 }
    }

    func begin() { state.withLock { $0.inFlight += 1 } }

    func end(_ route: String, status: Int, _ duration: Duration) {
        let seconds = duration / .seconds(1)
        state.withLock { counts in
            counts.inFlight -= 1
            counts.requests[Request(route: route, status: status), default: 0] += 1
            counts.times[route, default: Histogram()].add(seconds)
        }
    }
}
