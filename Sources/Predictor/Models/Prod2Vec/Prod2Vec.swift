// SPDX-License-Identifier: Apache-2.0
// prod2vec (Grbovic et al. 2015): word2vec with a user's or a session's items as the sentence.
// Semantics follow gensim 4 (word2vec_inner.pyx), so that its users find what they know: CBOW or
// skip-gram, negative sampling, windows that shrink at random, frequent-item subsampling, a
// linear learning rate over all epochs.
import Tables

package enum Prod2Vec {
    package static let kind = "prod2vec"

    /// What training tells while it runs.
    package struct Progress {
        /// 0 to 1, over all epochs.
        package let fraction: Double
        /// Items trained on so far, before subsampling.
        package let tokens: Int
        package let alpha: Double
        /// Nothing follows in this run of the training, and no thread is at work.
        package let isLast: Bool
        private let copy: () -> State

        init(
            fraction: Double,
            tokens: Int,
            alpha: Double,
            isLast: Bool,
            copy: @escaping () -> State
        ) {
            self.fraction = fraction
            self.tokens = tokens
            self.alpha = alpha
            self.isLast = isLast
            self.copy = copy
        }

        /// A copy of the tables as they are now.
        ///
        /// With one thread a training that goes on from it ends in the same model, bit for bit;
        /// other threads are in the middle of something, as always in hogwild.
        package func state() -> State { copy() }
    }

    /// A training that has come to a certain step.
    package struct State: Sendable {
        let step: Int
        let tokens: Int
        /// rows × vector size each.
        let input: [Float]
        let output: [Float]

        private static let file = "state.safetensors"

        package func write(to folder: String) throws(PredictorError) {
            try SafeTensors.write(
                [
                    "position": .int64([Int64(step), Int64(tokens)], shape: [2]),
                    "input": .float32(input, shape: [input.count]),
                    "output": .float32(output, shape: [output.count]),
                ],
                to: folder + "/" + Self.file
            )
        }

        package init(from folder: String) throws(PredictorError) {
            let file = try TensorFile(folder + "/" + Self.file)
            let position = try file.int64("position")
            step = Int(position[0])
            tokens = Int(position[1])
            input = try file.float32("input")
            output = try file.float32("output")
        }

        init(step: Int, tokens: Int, input: [Float], output: [Float]) {
            self.step = step
            self.tokens = tokens
            self.input = input
            self.output = output
        }
    }

    /// Trains on the sequences of the given parts, from the start or from an earlier state, to the
    /// end or to a share of it.
    ///
    /// `progress` is called on the calling thread after each chunk of about 10,000 items that it has
    /// worked on; it may throw to stop the training.
    package static func train(
        _ dataset: Dataset,
        on parts: Set<Part>,
        _ settings: Prod2VecSettings,
        until share: Double = 1,
        from state: State? = nil,
        progress: (Progress) throws -> Void = { _ in }
    ) throws -> RetrievalModel {
        let corpus = try Corpus(dataset, parts: parts, settings)
        let tables = WordTables(rows: corpus.items.count, settings)
        if let state { try tables.restore(state) }
        try Training(corpus, tables, settings, until: share, from: state).run(progress)
        var vectors = Matrix(
            rows: corpus.items.count,
            columns: settings.vectorSize,
            values: tables.vectors(.input)
        )
        vectors.normaliseRows()
        return RetrievalModel(
            kind: kind,
            vectors: vectors,
            items: corpus.items,
            itemCount: dataset.items.count
        )
    }
}
