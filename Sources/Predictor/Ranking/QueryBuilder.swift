// SPDX-License-Identifier: Apache-2.0

/// Makes the query of someone from what they had, for one model.
struct QueryBuilder: Sendable {
    private let model: RetrievalModel
    private let solver: FoldInSolver?

    /// Refuses a model whose vectors are not finite.
    init(_ model: RetrievalModel) throws(PredictorError) {
        self.model = model
        if case .foldIn(let foldIn) = model.queries {
            solver = try FoldInSolver(model.vectors, foldIn)
        } else {
            solver = nil
        }
    }

    /// nil where the model knows nothing about who asks.
    func vectors(_ queries: [Query]) throws(PredictorError) -> [[Float]?] {
        var scratch = FoldInSolver.Scratch(solver == nil ? 0 : model.vectors.columns)
        var vectors: [[Float]?] = []
        for query in queries { vectors.append(try vector(query, &scratch)) }
        return vectors
    }

    private func vector(_ query: Query, _ scratch: inout FoldInSolver.Scratch)
        throws(PredictorError) -> [Float]?
    {
        if case .constant = model.queries { return [1] }
        if case .users(let users, let rows) = model.queries, let user = query.user {
            let row = Int(rows[Int(user)])
            return row < 0 ? nil : Array(users[row: row])
        }
        let had = query.history.lazy.map { model.rows[Int($0)] }.filter { $0 >= 0 }
        guard !had.isEmpty else { return nil }
        guard let solver else { return mean(had) }
        return try solver.solve(Ratings.summed(had.map { ($0, 1) })[...], &scratch)
    }

    /// The mean of the items' vectors, each item once: for a cosine score its length is of no
    /// matter to the order.
    private func mean(_ rows: some Sequence<Int32>) -> [Float] {
        var sum = [Float](repeating: 0, count: model.vectors.columns)
        var seen: Set<Int32> = []
        for row in rows where seen.insert(row).inserted {
            let start = Int(row) * model.vectors.columns
            for column in sum.indices { sum[column] += model.vectors.values[start + column] }
        }
        var mean = Matrix(rows: 1, columns: sum.count, values: sum)
        mean.normaliseRows()
        return mean.values
    }
}
