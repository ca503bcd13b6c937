// SPDX-License-Identifier: Apache-2.0
private import Tables

/// How often each item is in the lists of one system, by groups of queries.
///
/// Coverage: the share of the catalogue that is in at least one list. Gini: how unevenly the items
/// of the catalogue are in lists, 0 alike, 1 one item only. Both are no means over queries, so their
/// intervals come from leaving out a group at a time.
struct CatalogueTally {
    static let groups = 20

    /// Items that anybody ever had.
    private let catalogue: [Int]
    /// groups × items.
    private var counts: [Int32]
    private let items: Int

    init(_ dataset: Dataset) {
        let met = dataset.itemCounts(in: .all)
        items = met.count
        catalogue = met.indices.filter { met[$0] > 0 }
        counts = [Int32](repeating: 0, count: Self.groups * items)
    }

    mutating func add(_ list: some Sequence<Int32>, query: Int) {
        let first = query % Self.groups * items
        for item in list { counts[first + Int(item)] += 1 }
    }

    var coverage: Replicated { replicated(Self.coverage) }
    var gini: Replicated { replicated(Self.gini) }

    private func replicated(_ figure: ([Int32]) -> Double) -> Replicated {
        var all = [Int32](repeating: 0, count: items)
        for place in counts.indices { all[place % items] += counts[place] }
        return Replicated(
            figure(catalogue.map { all[$0] }),
            (0..<Self.groups).map { group in
                figure(catalogue.map { all[$0] - counts[group * items + $0] })
            }
        )
    }

    private static func coverage(_ counts: [Int32]) -> Double {
        Double(counts.count { $0 > 0 }) / Double(max(1, counts.count))
    }

    static func gini(_ counts: [Int32]) -> Double {
        let sorted = counts.sorted()
        let total = sorted.reduce(0.0) { $0 + Double($1) }
        guard total > 0 else { return 0 }
        let n = Double(sorted.count)
        let weighted = sorted.enumerated().reduce(0.0) { sum, entry in
            sum + (2 * Double(entry.offset + 1) - n - 1) * Double(entry.element)
        }
        return weighted / (n * total)
    }
}
