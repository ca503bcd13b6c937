// SPDX-License-Identifier: Apache-2.0

/// Who asks for a list.
package struct Query: Sendable {
    /// Nil for someone, or something, that is no user of the dataset.
    package var user: Int32?
    /// Items, oldest first.
    package var history: [Int32]
    /// The events of the dataset that had them; empty where they are of none.
    package var events: [Int32]

    package init(user: Int32? = nil, history: [Int32], events: [Int32] = []) {
        precondition(events.isEmpty || events.count == history.count, "an event an item")
        self.user = user
        self.history = history
        self.events = events
    }

    /// Of some events of a dataset, oldest first.
    package init(user: Int32?, events: some Sequence<Int>, of dataset: Dataset) {
        let events = events.map { Int32($0) }
        self.init(
            user: user,
            history: events.map { dataset.eventItems[Int($0)] },
            events: events
        )
    }

    /// Made of the newest so many.
    func newest(_ count: Int) -> Query {
        Query(user: user, history: history.suffix(count), events: events.suffix(count))
    }
}

/// Finds a model's best items.
package protocol Searcher: Sendable {
    /// The k best items of each query without the hidden ones, best first; nil where the model
    /// knows nothing about who asks.
    func lists(
        _ queries: [Query],
        hidden: [[Int32]],
        k: Int,
        progress: (Double) throws -> Void
    ) throws -> [RankedList?]
}

/// A searcher whose scores are inner products of its model's item vectors with these, and compare
/// across those who ask.
protocol VectorQuerying: Searcher {
    /// Nil where the model knows nothing about who asks.
    func vectors(_ queries: [Query]) throws -> [[Float]?]
}

/// A query's vector, then the items that fit it best.
struct VectorSearcher: VectorQuerying {
    private let builder: QueryBuilder
    private let search: VectorSearch

    init(_ model: RetrievalModel, on gpu: GPU?) throws(PredictorError) {
        builder = try QueryBuilder(model)
        search = try VectorSearch(model.vectors, items: model.items, rows: model.rows, on: gpu)
    }

    func vectors(_ queries: [Query]) throws -> [[Float]?] {
        try builder.vectors(queries)
    }

    func lists(
        _ queries: [Query],
        hidden: [[Int32]],
        k: Int,
        progress: (Double) throws -> Void
    ) throws -> [RankedList?] {
        try search.lists(builder.vectors(queries), hidden: hidden, k: k, progress: progress)
    }
}

/// By inner products: exact top-k.
struct VectorSearch: Sendable {
    private let index: TopKIndex
    private let columns: Int
    private let items: [Int32]
    private let rows: [Int32]

    /// `items`: of each row of the vectors; `rows`: of each item, -1 for none.
    init(_ vectors: Matrix, items: [Int32], rows: [Int32], on gpu: GPU?) throws(PredictorError) {
        index = try TopKIndex(vectors, on: gpu)
        columns = vectors.columns
        self.items = items
        self.rows = rows
    }

    /// Nil stays nil.
    func lists(
        _ vectors: [[Float]?],
        hidden: [[Int32]],
        k: Int,
        threads: Int = 1,
        progress: (Double) throws -> Void
    ) throws -> [RankedList?] {
        var lists = [RankedList?](repeating: nil, count: vectors.count)
        let known = vectors.indices.filter { vectors[$0] != nil }
        guard !known.isEmpty else { return lists }
        let found = try index.search(
            Matrix(
                rows: known.count,
                columns: columns,
                values: known.flatMap { vectors[$0] ?? [] }
            ),
            k: k,
            excluded: known.map { place in
                Set(hidden[place]).map { rows[Int($0)] }.filter { $0 >= 0 }.sorted()
            },
            threads: threads,
            progress: progress
        )
        for (row, place) in known.enumerated() {
            let start = row * k
            lists[place] = RankedList(
                items: found.list(row).map { items[Int($0)] },
                scores: Array(found.scores[start..<start + found.counts[row]]),
                isCold: false
            )
        }
        return lists
    }
}
