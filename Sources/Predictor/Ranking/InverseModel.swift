// SPDX-License-Identifier: Apache-2.0
private import Tables

extension Recommender {
    /// Whether there is an `inverse`.
    package var comparesUsers: Bool {
        guard let itemVectors, itemVectors.columns > 1 else { return false }
        return (try? searcher()) is any VectorQuerying
    }

    /// The same scores asked the other way round: who fits an item best.
    ///
    /// Its users are the items of `dataset`, and its items the users, as in `dataset.transposed()`: the vectors
    /// are those of what users did in `parts`, of that the newest `history` events each. Refused are models whose
    /// scores are no inner products, those that give every user the same, and those whose scores are of one session
    /// only: a softmax over items says nothing about which of two sessions wants an item more.
    package func inverse(
        of dataset: Dataset,
        on parts: Set<Part>,
        history: Int,
        progress: (Double) throws -> Void = { _ in }
    ) throws -> any Recommender {
        guard let itemVectors, itemVectors.columns > 1,
            let searcher = try searcher() as? any VectorQuerying
        else {
            throw PredictorError.input(
                "the model, \(kind), has no vectors of users that could be compared for an item",
                hint: "als, two-tower and prod2vec have"
            )
        }
        var values: [Float] = []
        var known: [Int32] = []
        for first in stride(from: 0, to: dataset.users.count, by: 4096) {
            let users = first..<min(first + 4096, dataset.users.count)
            try progress(Double(first) / Double(dataset.users.count))
            let queries = users.map { user in
                let events = dataset.events(ofUser: user).filter { event in
                    parts.contains { $0.rawValue == dataset.eventParts[event] }
                }
                return Query(user: Int32(user), events: events, of: dataset).newest(history)
            }
            let vectors = try searcher.vectors(queries)
            for (user, vector) in zip(users, vectors) {
                guard let vector else { continue }
                known.append(Int32(user))
                values += vector
            }
        }
        return RetrievalModel(
            kind: kind,
            vectors: Matrix(rows: known.count, columns: itemVectors.columns, values: values),
            items: known,
            itemCount: dataset.users.count,
            queries: .users(itemVectors, rows: rows)
        )
    }
}
