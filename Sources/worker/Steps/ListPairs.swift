// SPDX-License-Identifier: Apache-2.0
import CacheWriter
import Foundation

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
        mean { new, old in
            Double(Set(new.prefix(k)).intersection(old.prefix(k)).count) / Double(min(k, old.count))
        }
    }

    /// How much of what readers see is not what they saw; `k`: entries that they see.
    func churn(_ k: Int) -> Churn {
        Churn(
            since: earlier,
            lists: count,
            changed: mean { new, old in new.prefix(k) == old.prefix(k) ? 0 : 1 },
            newItems: mean { new, old in Double(Set(new.prefix(k)).subtracting(old.prefix(k)).count)
            }
        )
    }

    private func mean(_ value: ([String], [String]) -> Double) -> Double {
        pairs.reduce(0) { $0 + value($1.new, $1.old) } / Double(max(1, count))
    }
}

/// How the lists of a release differ from those before it.
struct Churn: Codable, Sendable {
    /// The release that was compared with.
    let since: Int
    /// How many lists were compared.
    let lists: Int
    /// The share of lists that are not the same, order included.
    let changed: Double
    /// Items of a list that it had not before, on average.
    let newItems: Double

    var words: String {
        String(
            format:
                "%.0f %% of %@ lists are not those of release %@, with %.1f new items on average",
            changed * 100,
            Output.count(lists),
            String(since),
            newItems
        )
    }
}
