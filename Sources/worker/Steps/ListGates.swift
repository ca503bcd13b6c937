// SPDX-License-Identifier: Apache-2.0
import CacheWriter
import Jobs

/// Gates over the lists of a release that is about to go live, as they stand in Redis.
struct ListGates {
    let cache: FeedCache
    let release: Int
    /// What is live now; nil before a feed's first release.
    let live: Int?
    let shards: [ShardResult]
    /// Ids of lists that both releases are compared by.
    let samples: [[UInt8]]

    func outcomes(_ gates: [Gate]) async throws -> [GateOutcome] {
        var outcomes: [GateOutcome] = []
        for gate in gates where gate.isOfLists {
            outcomes.append(try await outcome(gate))
        }
        return outcomes
    }

    private func outcome(_ gate: Gate) async throws -> GateOutcome {
        switch gate.name {
        case "share-of-short-lists":
            return gate.outcome(
                of: share {
                    $0.short
                } of: {
                    $0.lists
                }
            )
        case "share-of-cold-lists":
            return gate.outcome(
                of: share {
                    $0.cold
                } of: {
                    $0.asked
                }
            )
        default: return try await overlap(gate)
        }
    }

    private func share(
        _ part: (ShardResult) -> Int,
        of whole: (ShardResult) -> Int
    ) -> Double {
        let all = shards.reduce(0) { $0 + whole($1) }
        return Double(shards.reduce(0) { $0 + part($1) }) / Double(max(1, all))
    }

    /// The mean share of the first k that two lists of one id have in common.
    private func overlap(_ gate: Gate) async throws -> GateOutcome {
        func without(_ why: String, holds: Bool) -> GateOutcome {
            GateOutcome(gate: gate.text, holds: holds, finding: why)
        }
        guard let live else { return without("there is no live release yet", holds: true) }
        let ours = try await cache.lists(samples, release: release).lists
        let theirs = try await cache.lists(samples, release: live).lists
        let k = gate.k ?? 10
        let shares = zip(ours, theirs).compactMap { ours, theirs -> Double? in
            guard let ours, let theirs, !theirs.isEmpty else { return nil }
            let common = Set(ours.prefix(k).map(\.id)).intersection(theirs.prefix(k).map(\.id))
            return Double(common.count) / Double(min(k, theirs.count))
        }
        guard !shares.isEmpty else {
            return without(
                "release \(live), which is live, has no list in Redis to compare with",
                holds: false
            )
        }
        let mean = shares.reduce(0, +) / Double(shares.count)
        let outcome = gate.outcome(of: mean)
        return GateOutcome(
            gate: outcome.gate,
            holds: outcome.holds,
            finding: outcome.finding + " over \(shares.count) lists"
        )
    }
}
