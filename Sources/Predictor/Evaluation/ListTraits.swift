// SPDX-License-Identifier: Apache-2.0
private import Glibc
private import Tables

/// What lists are like, whether they hit or not.
///
/// Novelty: the mean of -log2 of the share of users who had each item in training (Zhou et al. 2010);
/// an item that nobody had counts like one that one user had. Popularity: the mean number of training
/// events of the items. Diversity: one less the mean cosine of two items of the list, each a vector
/// of ones for its categories (Ziegler et al. 2005); nil where items have none.
struct ListTraits {
    private let events: [Float]
    private let information: [Float]
    private let categories: Categories?

    init(_ dataset: Dataset) throws(PredictorError) {
        events = dataset.itemCounts(in: .forTraining).map { Float($0) }
        information = Self.information(dataset)
        categories = try Categories(dataset)
    }

    var hasDiversity: Bool { categories != nil }

    private static func information(_ dataset: Dataset) -> [Float] {
        var had = [Int](repeating: 0, count: dataset.items.count)
        var users = 0
        for user in 0..<dataset.users.count {
            var own: Set<Int32> = []
            for event in dataset.events(ofUser: user)
            where dataset.eventParts[event] == Part.train.rawValue {
                own.insert(dataset.eventItems[event])
            }
            for item in own { had[Int(item)] += 1 }
            if !own.isEmpty { users += 1 }
        }
        return had.map { -log2f(Float(max(1, $0)) / Float(max(1, users))) }
    }

    func popularity(of items: some Collection<Int32>) -> Float {
        items.isEmpty ? 0 : items.reduce(0) { $0 + events[Int($1)] } / Float(items.count)
    }

    func novelty(of items: some Collection<Int32>) -> Float {
        items.isEmpty ? 0 : items.reduce(0) { $0 + information[Int($1)] } / Float(items.count)
    }

    /// Nil of fewer than two items that have any.
    func diversity(of items: some Collection<Int32>) -> Float? {
        categories?.meanCosine(of: items).map { 1 - $0 }
    }

    /// The categories of each item, of all its features.
    struct Categories {
        private var offsets: [Int32] = [0]
        private var tokens: [Int32] = []

        init?(_ dataset: Dataset) throws(PredictorError) {
            let columns = dataset.schema.columns(of: .items).filter { $0.type == .category }
            guard !columns.isEmpty else { return nil }
            let values = try columns.map { column throws(PredictorError) in
                try dataset.values(of: column)
            }
            for item in 0..<dataset.items.count {
                var first: Int32 = 0
                for (column, values) in zip(columns, values) {
                    let codes: [Int32] =
                        switch values {
                        case .codes(let codes): [codes[item]]
                        case .lists(let codes, let offsets):
                            Array(Set(codes[Int(offsets[item])..<Int(offsets[item + 1])]))
                        case .numbers: []
                        }
                    // What is not known of two items is nothing they share.
                    let known =
                        (column.hashBuckets ?? 0) > 0 ? Code.unknown : Code.first(hashBuckets: 0)
                    tokens += codes.filter { $0 >= known }.map { first + $0 }
                    first += Int32(column.cardinality ?? 0)
                }
                offsets.append(Int32(tokens.count))
            }
        }

        private func tokens(of item: Int32) -> ArraySlice<Int32> {
            tokens[Int(offsets[Int(item)])..<Int(offsets[Int(item) + 1])]
        }

        /// Of all pairs: the square of the sum of vectors of length one, without each with itself.
        func meanCosine(of items: some Collection<Int32>) -> Float? {
            var sum: [Int32: Float] = [:]
            var own: Float = 0
            for item in items {
                let tokens = tokens(of: item)
                guard !tokens.isEmpty else { continue }
                own += 1
                let weight = 1 / Float(tokens.count).squareRoot()
                for token in tokens { sum[token, default: 0] += weight }
            }
            guard own > 1 else { return nil }
            return (sum.values.reduce(0) { $0 + $1 * $1 } - own) / (own * (own - 1))
        }

        /// Whether two items have a category in common.
        func share(_ a: Int32, _ b: Int32) -> Bool {
            let tokens = tokens(of: b)
            return self.tokens(of: a).contains { tokens.contains($0) }
        }
    }
}
