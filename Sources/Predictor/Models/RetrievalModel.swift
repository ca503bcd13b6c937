// SPDX-License-Identifier: Apache-2.0

/// A trained model as two matrices: a score is the inner product of a query and an item.
///
/// Cosine models hold rows of length one. Popularity is the same thing with one column.
package struct RetrievalModel: Sendable {
    /// `popularity` or `prod2vec`.
    package let kind: String
    /// known items × dimensions.
    package let vectors: Matrix
    /// The item of each row.
    package let items: [Int32]
    /// The row of each item of the dataset, or -1 for an item the model does not know.
    package let rows: [Int32]
    /// The same for every query: the list of whoever asks does not matter.
    package var isConstant: Bool { kind == Popularity.kind }

    package init(kind: String, vectors: Matrix, items: [Int32], itemCount: Int) {
        self.kind = kind
        self.vectors = vectors
        self.items = items
        var rows = [Int32](repeating: -1, count: itemCount)
        for (row, item) in items.enumerated() { rows[Int(item)] = Int32(row) }
        self.rows = rows
    }

    /// The query of someone who had these items, oldest first; nil when none of them is known.
    ///
    /// The mean of the items' vectors, each item once: for a cosine score its length is of no
    /// matter to the order.
    package func query(history: some Sequence<Int32>) -> [Float]? {
        if isConstant { return [1] }
        var sum = [Float](repeating: 0, count: vectors.columns)
        var seen: Set<Int32> = []
        for item in history where rows[Int(item)] >= 0 && seen.insert(item).inserted {
            let start = Int(rows[Int(item)]) * vectors.columns
            for column in 0..<vectors.columns { sum[column] += vectors.values[start + column] }
        }
        guard !seen.isEmpty else { return nil }
        var mean = Matrix(rows: 1, columns: sum.count, values: sum)
        mean.normaliseRows()
        return mean.values
    }
}

// MARK: files

extension RetrievalModel {
    package func write(to folder: String) throws(PredictorError) {
        try SafeTensors.write(
            [
                "vectors": .float32(vectors.values, shape: [vectors.rows, vectors.columns]),
                "items": .int32(items, shape: [items.count]),
            ],
            to: folder + "/model.safetensors"
        )
    }

    package init(kind: String, from folder: String, itemCount: Int) throws(PredictorError) {
        let file = try TensorFile(folder + "/model.safetensors")
        let shape = try file.shape("vectors")
        self.init(
            kind: kind,
            vectors: Matrix(
                rows: shape[0],
                columns: shape[1],
                values: try file.float32("vectors")
            ),
            items: try file.int32("items"),
            itemCount: itemCount
        )
    }
}
