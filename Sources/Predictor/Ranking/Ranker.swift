// SPDX-License-Identifier: Apache-2.0

/// One list: items of the dataset, best first.
package struct RankedList: Sendable, Equatable {
    package var items: [Int32]
    package var scores: [Float]
    /// The model knew nothing about the query: the list is the popularity list.
    package var isCold: Bool
}

/// What a list holds, whatever the model.
package struct ListRules: Sendable, Codable, Equatable {
    /// Entries of a list.
    package var k: Int
    /// A user's own items are not in the user's list.
    package var excludesSeen: Bool
    /// A user's query is made of this many of the newest events.
    package var history: Int

    package init(k: Int, excludesSeen: Bool = true, history: Int = .max) {
        self.k = k
        self.excludesSeen = excludesSeen
        self.history = history
    }
}

/// Makes lists from a model.
///
/// Measured lists and served lists both come from here, with the same kernel and the same masks.
package struct Ranker: Sendable {
    private let model: RetrievalModel
    /// Answers cold queries: the most popular items, never chance.
    private let fallback: RetrievalModel
    private let rules: ListRules

    package init(_ model: RetrievalModel, fallback: RetrievalModel, _ rules: ListRules) {
        self.model = model
        self.fallback = fallback
        self.rules = rules
    }

    /// Lists for people with these histories (items, oldest first).
    package func lists(
        forHistories histories: [[Int32]],
        progress: (Double) throws -> Void = { _ in }
    ) throws -> [RankedList] {
        try lists(
            queries: histories.map { model.query(history: $0.suffix(rules.history)) },
            hidden: rules.excludesSeen ? histories : histories.map { _ in [] },
            progress
        )
    }

    /// Lists of the items most similar to each of these, without the item itself.
    package func lists(
        forItems items: [Int32],
        progress: (Double) throws -> Void = { _ in }
    ) throws -> [RankedList] {
        try lists(
            queries: items.map { model.query(history: [$0]) },
            hidden: items.map { [$0] },
            progress
        )
    }

    /// The popularity list, for those who ask with an id that has no list.
    package func defaultList() throws -> RankedList {
        try Ranker(fallback, fallback: fallback, rules).lists(forHistories: [[]])[0]
    }

    private func lists(
        queries: [[Float]?],
        hidden: [[Int32]],
        _ progress: (Double) throws -> Void
    ) throws -> [RankedList] {
        var lists = [RankedList?](repeating: nil, count: queries.count)
        let known = queries.indices.filter { queries[$0] != nil }
        let cold = queries.indices.filter { queries[$0] == nil }
        try search(model, known.map { ($0, queries[$0] ?? []) }, hidden, isCold: false, progress) {
            lists[$0] = $1
        }
        let constant = fallback.query(history: EmptyCollection())
        try search(fallback, cold.map { ($0, constant ?? []) }, hidden, isCold: true, { _ in }) {
            lists[$0] = $1
        }
        return lists.map { $0 ?? RankedList(items: [], scores: [], isCold: true) }
    }

    private func search(
        _ model: RetrievalModel,
        _ queries: [(place: Int, query: [Float])],
        _ hidden: [[Int32]],
        isCold: Bool,
        _ progress: (Double) throws -> Void,
        _ body: (Int, RankedList) -> Void
    ) throws {
        guard !queries.isEmpty else { return }
        let matrix = Matrix(
            rows: queries.count,
            columns: model.vectors.columns,
            values: queries.flatMap(\.query)
        )
        let found = try TopK.search(
            queries: matrix,
            items: model.vectors,
            k: rules.k,
            excluded: queries.map { place, _ in
                Set(hidden[place]).map { model.rows[Int($0)] }.filter { $0 >= 0 }.sorted()
            },
            progress: progress
        )
        for (row, query) in queries.enumerated() {
            let start = row * rules.k
            body(
                query.place,
                RankedList(
                    items: found.list(row).map { model.items[Int($0)] },
                    scores: Array(found.scores[start..<start + found.counts[row]]),
                    isCold: isCold
                )
            )
        }
    }
}
