// SPDX-License-Identifier: Apache-2.0
import Jobs

/// Gates over the lists of a release that is about to go live, as they stand in Redis.
struct ListGates {
    /// With what is live now; nil before a feed's first release.
    let pairs: ListPairs?
    let shards: [ShardResult]
    /// Entries that readers see.
    let k: Int

    func outcomes(_ gates: [Gate]) -> [GateOutcome] { gates.filter(\.isOfLists).map(outcome) }

    private func outcome(_ gate: Gate) -> GateOutcome {
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
        case "share-of-changed-lists": return compared(gate) { $0.churn(k).changed }
        default: return compared(gate) { $0.overlap(gate.k ?? 10) }
        }
    }

    private func share(
        _ part: (ShardResult) -> Int,
        of whole: (ShardResult) -> Int
    ) -> Double {
        let all = shards.reduce(0) { $0 + whole($1) }
        return Double(shards.reduce(0) { $0 + part($1) }) / Double(max(1, all))
    }

    private func compared(_ gate: Gate, _ value: (ListPairs) -> Double) -> GateOutcome {
        func without(_ why: String, holds: Bool) -> GateOutcome {
            GateOutcome(gate: gate.text, holds: holds, finding: why)
        }
        guard let pairs else { return without("there is no live release yet", holds: true) }
        guard pairs.count > 0 else {
            return without(
                "release \(pairs.earlier), which is live, has no list in Redis to compare with",
                holds: false
            )
        }
        let outcome = gate.outcome(of: value(pairs))
        return GateOutcome(
            gate: outcome.gate,
            holds: outcome.holds,
            finding: outcome.finding + " over \(pairs.count) lists"
        )
    }
}
