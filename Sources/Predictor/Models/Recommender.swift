// SPDX-License-Identifier: Apache-2.0
private import Tables

/// A trained model that lists can be made from.
package protocol Recommender: Sendable {
    /// `popularity`, `item-knn`, `prod2vec`, `als`, `two-tower`, `session-transformer` or `lists`.
    var kind: String { get }
    /// The item of each row: those that the model knows.
    var items: [Int32] { get }
    /// The row of each item of the dataset, or -1 for an item the model does not know.
    var rows: [Int32] { get }

    /// known items × dimensions, for those that have them; nil otherwise.
    var itemVectors: Matrix? { get }

    /// Refuses a model whose numbers cannot be ranked; `gpu`: where to search, for those that search by vectors.
    func searcher(on gpu: GPU?) throws(PredictorError) -> any Searcher
    /// Writes files that `RecommenderFile.read` knows.
    func write(to folder: String) throws(PredictorError)
}

extension Recommender {
    package var itemVectors: Matrix? { nil }

    func searcher() throws(PredictorError) -> any Searcher { try searcher(on: nil) }

    static var file: String { "model.safetensors" }

    static func rows(of items: [Int32], itemCount: Int) -> [Int32] {
        var rows = [Int32](repeating: -1, count: itemCount)
        for (row, item) in items.enumerated() { rows[Int(item)] = Int32(row) }
        return rows
    }
}

package enum RecommenderFile {
    /// `dataset`: the one that the model was trained on.
    package static func read(
        kind: String,
        from folder: String,
        _ dataset: Dataset
    ) throws(PredictorError) -> any Recommender {
        if kind == SessionTransformer.kind { return try SessionModel(from: folder, dataset) }
        let itemCount = dataset.items.count
        let file = try TensorFile("\(folder)/\(RetrievalModel.file)")
        if kind == ItemKNN.kind { return try NeighbourModel(from: file, itemCount: itemCount) }
        if kind == ImportedLists.kind {
            return try ImportedListModel(from: file, itemCount: itemCount)
        }
        return try RetrievalModel(kind: kind, from: file, itemCount: itemCount)
    }
}
