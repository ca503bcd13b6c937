// SPDX-License-Identifier: Apache-2.0

/// The most frequent items for everyone, or those whose events are worth most: the baseline beside every model, and the answer to
/// queries that a model knows nothing about.
package enum Popularity {
    package static let kind = "popularity"

    package static func train(_ dataset: Dataset, on parts: Set<Part>) -> RetrievalModel {
        model(dataset.itemWeights(in: parts))
    }

    /// By what each item is worth; those of nothing are not offered.
    static func model(_ weights: [Double]) -> RetrievalModel {
        let items = weights.indices.filter { weights[$0] > 0 }
        return RetrievalModel(
            kind: kind,
            vectors: Matrix(
                rows: items.count,
                columns: 1,
                values: items.map { Float(weights[$0]) }
            ),
            items: items.map { Int32($0) },
            itemCount: weights.count,
            queries: .constant
        )
    }
}
