// SPDX-License-Identifier: Apache-2.0
import CacheWriter

/// The lists that some ids have in two releases: the one that is written, and the one before it.
struct ListPairs {
    /// The release before.
    let earlier: Int
    private let pairs: [(new: [String], old: [String])]

    /// Ids without a list in one of the two are left out.
    init(_ ids: [[UInt8]], _ cache: FeedCache, _ release: Int, after earlier: Int) async throws {
        let new = try await cache.lists(ids, release: release).lists
        let old = try await cache.lists(ids, release: earlier).lists
        self.earlier = earlier
        pairs = zip(new, old).compactMap { new, old in
            guard let new, let old, !old.isEmpty else { return nil }
            return (new.map(\.id), old.map(\.id))
        }
    }

    var count: Int { pairs.count }

    /// The mean share of the first k that two lists have in common.
    func overlap(_ k: Int) -> Double {
        pairs.reduce(0) { sum, pair in
            let common = Set(pair.new.prefix(k)).intersection(pair.old.prefix(k)).count
            return sum + Double(common) / Double(min(k, pair.old.count))
        } / Double(max(1, count))
    }

    /// How much of what readers see is not what they saw; `k`: entries that they see.
    func churn(_ k: Int) -> Churn {
        var tally = ChurnTally()
        for pair in pairs { tally.add(pair.new, after: pair.old, k: k) }
        return tally.churn(since: earlier)
    }
}
