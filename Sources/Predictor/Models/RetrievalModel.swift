// SPDX-License-Identifier: Apache-2.0

/// A trained model as two matrices: a score is the inner product of a query and an item.
///
/// Cosine models hold rows of length one. Popularity is the same thing with one column. How a query
/// is made is said in `QueryBuilder`.
package struct RetrievalModel: Recommender {
    /// How the query of someone is made.
    enum Queries: Sendable {
        /// The same for everyone: the list of whoever asks does not matter.
        case constant
        /// The mean of the vectors of what was had.
        case mean
        /// Solved for from what was had, in a model of least squares.
        case foldIn(FoldIn)
        /// A row for each user that the model knows, and which row that is: -1 for others.
        case users(Matrix, rows: [Int32])
    }

    package let kind: String
    /// known items × dimensions.
    package let vectors: Matrix
    package let items: [Int32]
    package let rows: [Int32]
    let queries: Queries

    init(
        kind: String,
        vectors: Matrix,
        items: [Int32],
        itemCount: Int,
        queries: Queries = .mean
    ) {
        self.kind = kind
        self.queries = queries
        self.vectors = vectors
        self.items = items
        rows = Self.rows(of: items, itemCount: itemCount)
    }

    package var itemVectors: Matrix? { vectors }

    package func searcher(on gpu: GPU?) throws(PredictorError) -> any Searcher {
        try VectorSearcher(self, on: gpu)
    }
}

// MARK: files

extension RetrievalModel {
    package func write(to folder: String) throws(PredictorError) {
        var tensors: [String: Tensor] = [
            "vectors": .float32(vectors.values, shape: [vectors.rows, vectors.columns]),
            "items": .int32(items, shape: [items.count]),
        ]
        switch queries {
        case .constant: tensors["constant"] = .float32([1], shape: [1])
        case .mean: break
        case .foldIn(let foldIn):
            tensors["fold_in"] = .float32([foldIn.regularization, foldIn.alpha], shape: [2])
        case .users(let users, let rows):
            tensors["users"] = .float32(users.values, shape: [users.rows, users.columns])
            tensors["user_rows"] = .int32(rows, shape: [rows.count])
        }
        try SafeTensors.write(tensors, to: folder + "/" + Self.file)
    }

    init(kind: String, from file: TensorFile, itemCount: Int) throws(PredictorError) {
        let queries: Queries
        if file.has("constant") {
            queries = .constant
        } else if file.has("fold_in") {
            queries = .foldIn(FoldIn(tensor: try file.float32("fold_in")))
        } else if file.has("users") {
            queries = .users(try file.matrix("users"), rows: try file.int32("user_rows"))
        } else {
            queries = .mean
        }
        self.init(
            kind: kind,
            vectors: try file.matrix("vectors"),
            items: try file.int32("items"),
            itemCount: itemCount,
            queries: queries
        )
    }
}

extension TensorFile {
    func matrix(_ name: String) throws(PredictorError) -> Matrix {
        let shape = try shape(name)
        guard shape.count == 2 else {
            throw .file("tensor \"\(name)\"", "has \(shape.count) dimensions, not two")
        }
        return Matrix(rows: shape[0], columns: shape[1], values: try float32(name))
    }
}
