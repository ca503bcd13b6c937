// SPDX-License-Identifier: Apache-2.0
import Tables

/// Popularity within the values of a feature: for someone who is unknown, but known to be from Rome,
/// or to look at comedies.
package struct PopularLists {
    /// The list of one value.
    package struct Entry {
        package let value: String
        package let list: RankedList
    }

    private let dataset: Dataset
    private let k: Int
    private let withdrawn: Set<Int32>

    /// `withdrawn`: items that are in no list.
    package init(_ dataset: Dataset, k: Int, withdrawn: [Int32] = []) {
        self.dataset = dataset
        self.k = k
        self.withdrawn = Set(withdrawn)
    }

    /// By the events of users with each value, or by the events with it.
    ///
    /// A list that comes out short is filled up with `rest`.
    package func segments(
        by feature: String,
        filledWith rest: RankedList
    ) throws(PredictorError) -> [Entry] {
        let (column, codes) = try codes(feature, of: [.users, .events])
        return try lists(column) { add in
            for user in 0..<dataset.users.count {
                for event in dataset.events(ofUser: user) {
                    let item = dataset.eventItems[event]
                    let worth = dataset.eventWeights.map { Double($0[event]) } ?? 1
                    for code in codes(column.entity == .users ? user : event) {
                        add(code, item, worth)
                    }
                }
            }
        }.map { entry in
            let own = Set(entry.list.items)
            let missing = rest.items.lazy.filter { !own.contains($0) }
                .prefix(max(0, k - entry.list.items.count))
            let list = RankedList(
                items: entry.list.items + missing,
                scores: entry.list.scores + missing.map { _ in 0 },
                isCold: true
            )
            return Entry(value: entry.value, list: list)
        }
    }

    /// Of the items with each value; there may be fewer than k of them.
    package func categories(by feature: String) throws(PredictorError) -> [Entry] {
        let (column, codes) = try codes(feature, of: [.items])
        let weights = dataset.itemWeights(in: .all)
        return try lists(column) { add in
            for item in weights.indices where weights[item] > 0 {
                for code in codes(item) { add(code, Int32(item), weights[item]) }
            }
        }
    }

    private typealias Codes = (_ row: Int) -> [Int32]

    private func codes(
        _ name: String,
        of entities: [Feature.Entity]
    ) throws(PredictorError) -> (Schema.Column, Codes) {
        let column = dataset.schema.columns.first {
            $0.name == name && entities.contains($0.entity) && $0.type == .category
        }
        guard let column else {
            throw .input(
                "the dataset has no category \"\(name)\" of \(entities[0].rawValue)",
                hint: "name it under `dataset: features:`"
            )
        }
        switch try dataset.values(of: column) {
        case .codes(let codes): return (column, { [codes[$0]] })
        case .lists(let codes, let offsets):
            return (column, { Array(Set(codes[Int(offsets[$0])..<Int(offsets[$0 + 1])])) })
        case .numbers: return (column, { _ in [] })
        }
    }

    /// Of each value that has a worth, the k items with most of it, ties by the item's index.
    private func lists(
        _ column: Schema.Column,
        _ tell: (_ add: (_ code: Int32, _ item: Int32, _ worth: Double) -> Void) -> Void
    ) throws(PredictorError) -> [Entry] {
        let first = Code.first(hashBuckets: column.hashBuckets ?? 0)
        var worths: [Int32: [Int32: Double]] = [:]
        tell { code, item, worth in
            // What is missing, unknown or shares a hash has no name to ask by.
            guard code >= first, !withdrawn.contains(item) else { return }
            worths[code, default: [:]][item, default: 0] += worth
        }
        let text = try column.text(dataset)
        return worths.sorted { $0.key < $1.key }.map { code, items in
            let best = items.filter { $0.value > 0 }.sorted {
                ($1.value, $0.key) < ($0.value, $1.key)
            }.prefix(k)
            let list = RankedList(
                items: best.map(\.key),
                scores: best.map { Float($0.value) },
                isCold: true
            )
            return Entry(value: text(code), list: list)
        }
    }
}
