// SPDX-License-Identifier: Apache-2.0
import Foundation

/// How the lists of a release differ from those before it.
struct Churn: Codable, Sendable {
    /// The release that was compared with; nil: what stood in their place, of whichever release.
    let since: Int?
    /// How many lists were compared.
    let lists: Int
    /// The share of lists that are not the same, order included.
    let changed: Double
    /// Items of a list that it had not before, on average.
    let newItems: Double

    var words: String {
        String(
            format:
                "%.0f %% of %@ lists are not those %@, with %.1f new items on average",
            changed * 100,
            Output.count(lists),
            since.map { "of release \($0)" } ?? "that stood there",
            newItems
        )
    }
}

/// What adds up to it.
struct ChurnTally: Codable, Sendable {
    private(set) var lists = 0
    private var changed = 0
    private var newItems = 0

    /// An id's list and the one that it had before; `k`: entries that readers see.
    mutating func add(_ new: [String], after old: [String], k: Int) {
        lists += 1
        let (new, old) = (new.prefix(k), old.prefix(k))
        if new == old { return }
        changed += 1
        newItems += Set(new).subtracting(old).count
    }

    /// A list that is the one before, byte for byte.
    mutating func addSame() { lists += 1 }

    static func += (a: inout ChurnTally, b: ChurnTally) {
        a.lists += b.lists
        a.changed += b.changed
        a.newItems += b.newItems
    }

    func churn(since release: Int?) -> Churn {
        let count = Double(max(1, lists))
        return Churn(
            since: release,
            lists: lists,
            changed: Double(changed) / count,
            newItems: Double(newItems) / count
        )
    }
}
