// SPDX-License-Identifier: Apache-2.0
import Tables
private import Executors

/// Implicit ALS: Hu, Koren, Volinsky 2008, "Collaborative Filtering for Implicit Feedback Datasets".
///
/// The users' and the items' vectors are solved for in turns, each exactly (Cholesky), while the
/// others stand still. A query is solved for from its history in the same way, so that someone who
/// was not there in training gets a vector too.
package enum ALS {
    package static let kind = "als"

    /// What training tells after each half of an iteration.
    package struct Progress {
        /// 0 to 1.
        package let fraction: Double
        package let iteration: Int
        /// Where the training could go on; nil in the middle of an iteration.
        package let state: State?
        /// The training ends here.
        package let isLast: Bool
    }

    /// A training between two iterations: the users' vectors follow from the items'.
    package struct State: Sendable {
        let iterations: Int
        let items: Matrix

        private static let file = "state.safetensors"

        package func write(to folder: String) throws(PredictorError) {
            try SafeTensors.write(
                [
                    "iterations": .int64([Int64(iterations)], shape: [1]),
                    "items": .float32(items.values, shape: [items.rows, items.columns]),
                ],
                to: folder + "/" + Self.file
            )
        }

        package init(from folder: String) throws(PredictorError) {
            let path = folder + "/" + Self.file
            let file = try TensorFile(path)
            let shape = try file.shape("items")
            guard shape.count == 2 else { throw .file(path, "is not a state of als") }
            iterations = Int(try file.int64("iterations")[0])
            items = Matrix(
                rows: shape[0],
                columns: shape[1],
                values: try file.float32("items")
            )
        }

        init(iterations: Int, items: Matrix) {
            self.iterations = iterations
            self.items = items
        }
    }

    /// Trains on the events of the given parts, from the start or from an earlier state, to the end or
    /// to a share of the iterations; `progress` may throw to stop.
    package static func train(
        _ dataset: Dataset,
        on parts: Set<Part>,
        _ settings: ALSSettings,
        until share: Double = 1,
        from state: State? = nil,
        progress: (Progress) throws -> Void = { _ in }
    ) throws -> RetrievalModel {
        let weights = dataset.itemWeights(in: parts)
        let items = weights.indices.filter { weights[$0] > 0 }
        guard !items.isEmpty else {
            throw PredictorError.input("no event to train on")
        }
        let byUser = Ratings(dataset, on: parts, items)
        let byItem = byUser.transposed(rows: items.count)
        var itemVectors = state?.items ?? start(items.count, settings)
        guard itemVectors.rows == items.count, itemVectors.columns == settings.factors else {
            throw PredictorError.input("the state is of another training")
        }
        let end = max(1, Int((share * Double(settings.iterations)).rounded(.up)))
        for iteration in (state?.iterations ?? 0)..<max(end, state?.iterations ?? 0) {
            func tell(_ half: Double, _ state: State? = nil) throws {
                try progress(
                    Progress(
                        fraction: (Double(iteration) + half) / Double(settings.iterations),
                        iteration: iteration + 1,
                        state: state,
                        isLast: state?.iterations == end
                    )
                )
            }
            let userVectors = try solve(byUser, against: itemVectors, settings)
            try tell(0.5)
            itemVectors = try solve(byItem, against: userVectors, settings)
            try tell(1, State(iterations: iteration + 1, items: itemVectors))
        }
        return RetrievalModel(
            kind: kind,
            vectors: itemVectors,
            items: items.map { Int32($0) },
            itemCount: dataset.items.count,
            queries: .foldIn(FoldIn(settings))
        )
    }

    /// As implicit does: uniform in [0, 0.01).
    private static func start(_ rows: Int, _ settings: ALSSettings) -> Matrix {
        var generator = SeededGenerator(seed: settings.seed)
        return Matrix(
            rows: rows,
            columns: settings.factors,
            values: (0..<rows * settings.factors).map { _ in generator.unitFloat() * 0.01 }
        )
    }

    /// The best vectors of all rows, given those of the columns.
    private static func solve(
        _ ratings: Ratings,
        against columns: Matrix,
        _ settings: ALSSettings
    ) throws -> Matrix {
        let solver = try FoldInSolver(columns, FoldIn(settings))
        let size = settings.factors
        // Rows differ in length: small pieces keep all threads busy to the end.
        let piece = max(1, min(256, ratings.rows / (4 * settings.threads) + 1))
        let pieces = (ratings.rows + piece - 1) / piece
        var values = [Float](repeating: 0, count: ratings.rows * size)
        try unsafe values.withUnsafeMutableBufferPointer { buffer in
            let target = unsafe RowTarget(start: buffer.baseAddress)
            try concurrently(settings.threads) { thread in
                var scratch = FoldInSolver.Scratch(size)
                for piece in stride(from: thread, to: pieces, by: settings.threads).map({
                    $0 * piece..<min(($0 + 1) * piece, ratings.rows)
                }) {
                    for row in piece {
                        let vector = try solver.solve(ratings.entries(row), &scratch)
                        target.write(vector, at: row * size)
                    }
                }
            }
        }
        return Matrix(rows: ratings.rows, columns: size, values: values)
    }
}

/// Lets several threads write different rows.
@safe private struct RowTarget: @unchecked Sendable {
    let start: UnsafeMutablePointer<Float>?

    func write(_ row: [Float], at place: Int) {
        guard let start = unsafe start else { return }
        for (i, value) in row.enumerated() { unsafe start[place + i] = value }
    }
}
