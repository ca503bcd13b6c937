// SPDX-License-Identifier: Apache-2.0

/// The most frequent items for everyone: the baseline beside every model, and the answer to
/// queries that a model knows nothing about.
package enum Popularity {
    package static let kind = "popularity"

    package static func train(_ dataset: Dataset, on parts: Set<Part>) -> RetrievalModel {
        let counts = dataset.itemCounts(in: parts)
        let items = counts.indices.filter { counts[$0] > 0 }
        return RetrievalModel(
            kind: kind,
            vectors: Matrix(rows: items.count, columns: 1, values: items.map { Float(counts[$0]) }),
            items: items.map { Int32($0) },
            itemCount: counts.count
        )
    }
}
