// SPDX-License-Identifier: Apache-2.0

/// How near items are to each other in a model's own space.
package struct ItemSimilarities: Sendable {
    private let unit: Matrix
    private let rows: [Int32]

    /// Nil where the model has no vectors, or one number an item.
    package init?(_ model: any Recommender) {
        guard var vectors = model.itemVectors, vectors.columns > 1 else { return nil }
        vectors.normaliseRows()
        unit = vectors
        rows = model.rows
    }

    /// Nil of an item without a vector.
    package func cosine(_ a: Int32, _ b: Int32) -> Float? {
        let (a, b) = (Int(rows[Int(a)]), Int(rows[Int(b)]))
        guard a >= 0, b >= 0 else { return nil }
        return (0..<unit.columns).reduce(0) { sum, column in
            sum + unit.values[a * unit.columns + column] * unit.values[b * unit.columns + column]
        }
    }
}
