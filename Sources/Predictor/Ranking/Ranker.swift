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
    private let model: any Searcher
    /// Answers cold queries: the most popular items, never chance.
    private let fallback: any Searcher
    private let rules: ListRules
    private let rank: RankStage?
    private let withdrawn: [Int32]

    /// Refuses a model whose vectors cannot be ranked; `withdrawn`: items that are in no list; `gpu`: where to
    /// search.
    package init(
        _ model: any Recommender,
        fallback: any Recommender,
        _ rules: ListRules,
        rank: RankStage? = nil,
        withdrawn: [Int32] = [],
        on gpu: GPU? = nil
    ) throws(PredictorError) {
        self.model = try model.searcher(on: gpu)
        self.fallback = try fallback.searcher(on: nil)
        self.rules = rules
        self.rank = rank
        self.withdrawn = withdrawn
    }

    /// Lists for people.
    package func lists(
        for queries: [Query],
        progress: (Double) throws -> Void = { _ in }
    ) throws -> [RankedList] {
        try lists(
            queries.map { $0.newest(rules.history) },
            hidden: rules.excludesSeen
                ? queries.map(\.history) : [[Int32]](repeating: [], count: queries.count),
            progress
        )
    }

    /// Lists of the items most similar to each of these, without the item itself.
    package func lists(
        forItems items: [Int32],
        progress: (Double) throws -> Void = { _ in }
    ) throws -> [RankedList] {
        try lists(
            items.map { Query(history: [$0]) },
            hidden: items.map { [$0] },
            progress
        )
    }

    /// The popularity list, for those who ask with an id that has no list.
    package func defaultList() throws -> RankedList {
        try popular([Query(history: [])], hidden: [withdrawn]) { _ in }[0]
    }

    private func lists(
        _ queries: [Query],
        hidden: [[Int32]],
        _ progress: (Double) throws -> Void
    ) throws -> [RankedList] {
        let hidden = withdrawn.isEmpty ? hidden : hidden.map { $0 + withdrawn }
        let found =
            try rank.map { rank in
                try rank.lists(from: model, queries, hidden: hidden, k: rules.k, progress: progress)
            } ?? model.lists(queries, hidden: hidden, k: rules.k, progress: progress)
        let cold = found.indices.filter { found[$0] == nil }
        guard !cold.isEmpty else { return found.compactMap(\.self) }
        var lists = found
        let popular = try popular(
            cold.map { queries[$0] },
            hidden: cold.map { hidden[$0] },
            progress
        )
        for (place, list) in zip(cold, popular) { lists[place] = list }
        return lists.compactMap(\.self)
    }

    private func popular(
        _ queries: [Query],
        hidden: [[Int32]],
        _ progress: (Double) throws -> Void
    ) throws -> [RankedList] {
        try fallback.lists(queries, hidden: hidden, k: rules.k, progress: progress).map {
            RankedList(items: $0?.items ?? [], scores: $0?.scores ?? [], isCold: true)
        }
    }
}
