// SPDX-License-Identifier: Apache-2.0
private import Tables

/// A part of the queries, or of what came, that is looked at alone.
package struct Slice: Sendable, Codable, Equatable {
    /// `item-popularity`, `user-activity`, or a feature of the dataset.
    package let dimension: String
    package let value: String
    /// What the value stands for, where it does not say so itself.
    package let meaning: String?
    /// Queries that have a part in it.
    package internal(set) var queries = 0

    /// As it stands in the names of metrics: `recall@10[item-popularity=tail]`.
    package var name: String { "\(dimension)=\(value)" }
}

/// Divides queries by who asks, and what came by what it is.
///
/// Of a slice of items, only those that came and belong to it are to be found.
package struct Slices {
    package static let itemPopularity = "item-popularity"
    package static let userActivity = "user-activity"
    /// Values of a feature that are slices of their own; the others are one together.
    private static let most = 10

    /// Those that a dimension always has; nil of features.
    package static func values(of dimension: String) -> [String]? {
        switch dimension {
        case itemPopularity: ["head", "middle", "tail", "new"]
        case userActivity: ["low", "middle", "high", "new"]
        default: nil
        }
    }

    private(set) var slices: [Slice] = []
    /// Slices of each query.
    private var ofQueries: [[Int]]
    /// Of each dimension of items: the slices of each item.
    private var ofItems: [ItemSlices] = []

    private struct ItemSlices {
        var offsets: [Int32] = [0]
        var slices: [Int32] = []

        func callAsFunction(_ item: Int32) -> ArraySlice<Int32> {
            slices[Int(offsets[Int(item)])..<Int(offsets[Int(item) + 1])]
        }
    }

    init(_ dimensions: [String], of test: TestQueries, _ dataset: Dataset) throws(PredictorError) {
        ofQueries = [[Int]](repeating: [], count: test.queries.count)
        for dimension in dimensions {
            switch dimension {
            case Self.itemPopularity: addPopularity(dataset)
            case Self.userActivity: addActivity(test)
            default: try addFeature(dimension, test, dataset)
            }
        }
        for query in test.queries.indices {
            for part in parts(ofQuery: query, test.truths[query]) {
                slices[part.slice].queries += 1
            }
        }
    }

    /// A slice that a query has a part in, and what of it is to be found there.
    typealias Share = (slice: Int, truth: Set<Int32>)

    func parts(ofQuery query: Int, _ truth: Set<Int32>) -> [Share] {
        var parts: [Share] = ofQueries[query].map { ($0, truth) }
        for items in ofItems {
            var found: [Int: Set<Int32>] = [:]
            for item in truth {
                for slice in items(item) { found[Int(slice), default: []].insert(item) }
            }
            parts += found.sorted { $0.key < $1.key }.map { ($0.key, $0.value) }
        }
        return parts
    }

    // MARK: dimensions

    private mutating func add(_ dimension: String, _ value: String, _ meaning: String? = nil) -> Int
    {
        slices.append(Slice(dimension: dimension, value: value, meaning: meaning))
        return slices.count - 1
    }

    /// Thirds of the training events: the few items that make up the first, and so on.
    private mutating func addPopularity(_ dataset: Dataset) {
        let counts = dataset.itemCounts(in: .forTraining)
        let total = counts.reduce(0, +)
        var kind = [Int](repeating: 3, count: counts.count)
        var members = [0, 0, 0]
        var before = 0
        for item in counts.indices.sorted(by: { (counts[$1], $0) < (counts[$0], $1) })
        where counts[item] > 0 {
            kind[item] = min(2, 3 * before / max(1, total))
            members[kind[item]] += 1
            before += counts[item]
        }
        let first = slices.count
        for (value, place) in [("head", 0), ("middle", 1), ("tail", 2)] {
            _ = add(
                Self.itemPopularity,
                value,
                "\(members[place]) items with a third of the training events"
            )
        }
        _ = add(Self.itemPopularity, "new", "items that training did not meet")
        addItems(kind.map { [Int32(first + $0)] })
    }

    /// Thirds of the queries, by how much is known of who asks.
    private mutating func addActivity(_ test: TestQueries) {
        let lengths = test.queries.map { $0.history.count }
        let (kinds, meanings) = Self.thirds(lengths.map { $0 == 0 ? nil : Double($0) }) {
            "\(Int($0)) to \(Int($1)) events before"
        }
        let first = slices.count
        for (value, meaning) in zip(["low", "middle", "high"], meanings) {
            _ = add(Self.userActivity, value, meaning)
        }
        _ = add(Self.userActivity, "new", "no event before")
        for query in ofQueries.indices { ofQueries[query].append(first + (kinds[query] ?? 3)) }
    }

    private mutating func addFeature(
        _ name: String,
        _ test: TestQueries,
        _ dataset: Dataset
    ) throws(PredictorError) {
        guard let column = dataset.schema.columns.first(where: { $0.name == name }),
            column.entity != .events
        else {
            throw .input(
                "slices by \"\(name)\": users and items have no such feature",
                hint: "name it under `dataset: features:`"
            )
        }
        let values = try dataset.values(of: column)
        switch column.entity {
        case .items:
            addItems(try parts(of: column, values, among: nil, dataset))
        case .users, .events:
            let users = test.queries.map(\.user)
            let parts = try parts(of: column, values, among: users.compactMap(\.self), dataset)
            for (query, user) in users.enumerated() {
                guard let user else { continue }
                ofQueries[query] += parts[Int(user)].map { Int($0) }
            }
        }
    }

    private mutating func addItems(_ slicesOfItems: [[Int32]]) {
        var items = ItemSlices()
        for slices in slicesOfItems {
            items.slices += slices
            items.offsets.append(Int32(items.slices.count))
        }
        ofItems.append(items)
    }

    /// The slices of each user or item by a feature; `among`: those that decide which values are
    /// frequent, all where nil.
    private mutating func parts(
        of column: Schema.Column,
        _ values: FeatureValues,
        among chosen: [Int32]?,
        _ dataset: Dataset
    ) throws(PredictorError) -> [[Int32]] {
        let codes: [[Int32]]
        switch values {
        case .numbers(let numbers):
            return thirds(of: column, numbers.map { column.fit?.value(of: $0) ?? $0 })
        case .codes(let column): codes = column.map { [$0] }
        case .lists(let column, let offsets):
            codes = (0..<offsets.count - 1).map { row in
                Array(Set(column[Int(offsets[row])..<Int(offsets[row + 1])]))
            }
        }
        var counts: [Int32: Int] = [:]
        for row in chosen ?? Array(0..<Int32(codes.count)) {
            for code in codes[Int(row)] where code != Code.padding { counts[code, default: 0] += 1 }
        }
        let order = counts.sorted { ($1.value, $0.key) < ($0.value, $1.key) }.map(\.key)
        let text = try column.text(dataset)
        var slice: [Int32: Int32] = [:]
        for code in order.prefix(Self.most) {
            slice[code] = Int32(add(column.name, text(code)))
        }
        let others = order.count > Self.most ? Int32(add(column.name, "(others)")) : nil
        return codes.map { codes in
            Set(codes.filter { $0 != Code.padding }.compactMap { slice[$0] ?? others }).sorted()
        }
    }

    private mutating func thirds(of column: Schema.Column, _ numbers: [Float]) -> [[Int32]] {
        let (kinds, meanings) = Self.thirds(numbers.map { Double($0) }) {
            "\(Float($0)) to \(Float($1))"
        }
        let first = slices.count
        for (value, meaning) in zip(["low", "middle", "high"], meanings) {
            _ = add(column.name, value, meaning)
        }
        return kinds.map { kind in kind.map { [Int32(first + $0)] } ?? [] }
    }

    /// 0, 1 or 2 of each number; equal numbers are in one third.
    private static func thirds(
        _ numbers: [Double?],
        meaning: (Double, Double) -> String
    ) -> ([Int?], [String]) {
        let sorted = numbers.compactMap(\.self).filter(\.isFinite).sorted()
        guard !sorted.isEmpty else {
            return (numbers.map { _ in nil }, ["nothing", "nothing", "nothing"])
        }
        let bounds = [sorted[(sorted.count - 1) / 3], sorted[2 * (sorted.count - 1) / 3]]
        let kinds = numbers.map { number in
            number.flatMap { number in
                number.isFinite ? bounds.count { number > $0 } : nil
            }
        }
        let meanings = (0..<3).map { third in
            let members = sorted.filter { number in bounds.count { number > $0 } == third }
            guard let low = members.first, let high = members.last else { return "nothing" }
            return meaning(low, high)
        }
        return (kinds, meanings)
    }
}

extension Schema.Column {
    /// What codes stand for, as the source had it.
    package func text(_ dataset: Dataset) throws(PredictorError) -> (Int32) -> String {
        let values = try vocabulary.map { name throws(PredictorError) in
            try dataset.dictionary(name)
        }
        let first = Code.first(hashBuckets: hashBuckets ?? 0)
        let isBucket = boundaries != nil
        let isHashed = (hashBuckets ?? 0) > 0
        return { code in
            let place = Int(code - first)
            guard place >= 0 else {
                if isHashed, code >= Code.unknown { return "hash \(code - Code.unknown)" }
                return code == Code.padding
                    ? "padding" : code == Code.missing ? "missing" : "unknown"
            }
            if let values { return values[place] }
            return isBucket ? "bucket \(place)" : "\(code)"
        }
    }
}
