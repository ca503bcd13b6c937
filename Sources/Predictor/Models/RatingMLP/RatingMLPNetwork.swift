// SPDX-License-Identifier: Apache-2.0
private import Tables

/// Embeddings of a user and of an item, dense layers with rectifiers, and a sigmoid.
///
/// The first layer's matrix is two, one for what is of the user and one for what is of the item:
/// (u, i) · W = u · Wᵤ + i · Wᵢ. Each product is made once for each different user or item of a
/// batch, and of all there are when the model is done.
@safe final class RatingMLPNetwork: Learner {
    /// One half of the first layer.
    struct Side {
        let distinct: Distinct
        let input: EntityInput
        let layer: Linear
        let x: RowBuffer
        let product: RowBuffer
        let gradient: RowBuffer
        let dx: RowBuffer

        init(_ input: EntityInput, _ layer: Linear) {
            distinct = Distinct(count: input.isMet.count)
            self.input = input
            self.layer = layer
            x = RowBuffer(columns: input.width)
            product = RowBuffer(columns: layer.outputs)
            gradient = RowBuffer(columns: layer.outputs)
            dx = RowBuffer(columns: input.width)
        }

        func forward(_ entities: [Int32], threads: Int) {
            distinct.use(entities)
            input.forward(distinct.entities, into: x, threads: threads)
            layer.forward(x, into: product, threads: threads)
        }

        func backward(_ dh: RowBuffer, threads: Int) {
            distinct.sum(dh, into: gradient, threads: threads)
            layer.backward(gradient, x: x, y: product, into: dx, threads: threads)
        }

        var squares: Double { input.squares(dx) + layer.gradients.squares }

        func update(_ optimiser: Optimiser, threads: Int) {
            layer.gradients.update(optimiser, threads: threads)
            input.update(dx, optimiser, threads: threads)
        }
    }

    private let settings: RatingMLPSettings
    private let examples: RatingExamples
    private let users: Side
    private let items: Side
    /// Behind the first layer, the last of them with one output.
    private let dense: DenseLayers
    private let validation: RatingValidation?
    private let training: DeviceTraining<DeviceRatingMLP>?
    private var prepared: (step: Int, batch: RatingExamples.Batch)?

    init(
        _ dataset: Dataset,
        on parts: Set<Part>,
        _ settings: RatingMLPSettings,
        validates: Bool,
        on gpu: GPU? = nil
    ) throws(PredictorError) {
        self.settings = settings
        try TrainingMemory.check(
            settings.memory(users: dataset.users.count, items: dataset.items.count, dataset.schema),
            of: dataset
        )
        examples = try RatingExamples(dataset, on: parts, settings)
        var generator = SeededGenerator(seed: settings.training.seed, stream: -1)
        let first = settings.layers[0]
        func side(
            _ entity: Feature.Entity,
            hasBias: Bool,
            _ generator: inout SeededGenerator
        ) throws(PredictorError) -> Side {
            let input = try EntityInput(
                dataset,
                of: entity,
                on: parts,
                settings.style,
                for: settings.optimiser.kind,
                &generator
            )
            let layer = Linear(
                inputs: input.width,
                outputs: first,
                rectifies: false,
                hasBias: hasBias,
                for: settings.optimiser.kind,
                &generator
            )
            return Side(input, layer)
        }
        users = try side(.users, hasBias: true, &generator)
        items = try side(.items, hasBias: false, &generator)
        dense = DenseLayers(
            inputs: first,
            outputs: settings.layers.dropFirst() + [1],
            rectifiesLast: false,
            dropout: settings.dropout,
            for: settings.optimiser.kind,
            threads: settings.threads,
            &generator
        )
        validation =
            validates ? RatingValidation(dataset, examples, seed: settings.training.seed) : nil
        training = DeviceTraining(gpu) { [users, items, dense] layers in
            try DeviceRatingMLP(users: users, items: items, dense, layers)
        }
    }

    var parameters: [(name: String, parameter: Parameter)] {
        users.input.parameters + items.input.parameters
            + users.layer.parameters("users.first") + items.layer.parameters("items.first")
            + dense.parameters("layer")
    }

    var device: String? { training?.name }
    func settle() throws { try training?.settle() }

    func learn(_ batch: LoadedBatch, next: LoadedBatch?, step: Int, of steps: Int) throws -> Double
    {
        let own = prepared?.step == step ? prepared?.batch : nil
        return try learn(
            own ?? examples(of: batch, step),
            next: next.map { next in { self.examples(of: next, step + 1) } },
            step: step,
            of: steps
        )
    }

    private func examples(of batch: LoadedBatch, _ step: Int) -> RatingExamples.Batch {
        examples.batch(
            events: batch.events,
            users: batch.users,
            items: batch.items,
            stream: step
        )
    }

    func learn(
        _ batch: RatingExamples.Batch,
        next: (() -> RatingExamples.Batch)? = nil,
        step: Int,
        of steps: Int
    ) throws -> Double {
        try training?.learn(
            step: step,
            stage: { $0.stage(batch) },
            launch: { try $0.learn(settings.optimiser, step: step, of: steps, $1) },
            ahead: next.map { next in
                { device in
                    let batch = next()
                    self.prepared = (step + 1, batch)
                    device.stage(batch)
                }
            }
        ) ?? learnHere(batch, step: step, of: steps)
    }

    private func learnHere(_ batch: RatingExamples.Batch, step: Int, of steps: Int) -> Double {
        let threads = settings.threads
        users.forward(batch.users, threads: threads)
        items.forward(batch.items, threads: threads)
        PairSum.forward(
            users.product,
            users.distinct.slots,
            items.product,
            items.distinct.slots,
            into: dense.input,
            threads: threads
        )
        dense.forward(step: step)
        let loss = BinaryCrossEntropy.run(
            dense.output,
            labels: batch.labels,
            gradient: dense.outputGradient
        )
        dense.backward(step: step)
        PairSum.backward(dense.inputGradient, y: dense.input, threads: threads)
        users.backward(dense.inputGradient, threads: threads)
        items.backward(dense.inputGradient, threads: threads)
        let optimiser = Optimiser(
            settings.optimiser,
            step: step,
            of: steps,
            squares: settings.optimiser.clips
                ? users.squares + items.squares + dense.gradients.squares : nil
        )
        dense.gradients.update(optimiser, threads: threads)
        users.update(optimiser, threads: threads)
        items.update(optimiser, threads: threads)
        return loss
    }

    func validate(_ progress: (Double) throws -> Void) throws -> Double? {
        guard let validation, validation.isTelling else { return nil }
        return try validation.report(of: try model(), progress).auc
    }

    /// The first layer's products of everyone and everything, and the layers behind it.
    func model() throws(PredictorError) -> RatingModel {
        RatingModel(
            users: products(users),
            items: products(items),
            layers: dense.layers.map { layer in
                RatingModel.Layer(
                    weight: layer.weight.values.matrix,
                    bias: layer.bias?.values.values ?? []
                )
            }
        )
    }

    private func products(_ side: Side) -> Matrix {
        let count = side.input.isMet.count
        side.input.fillUnknown()
        var values: [Float] = []
        values.reserveCapacity(count * side.layer.outputs)
        for first in stride(from: 0, to: count, by: 4096) {
            side.forward(
                (first..<min(first + 4096, count)).map { Int32($0) },
                threads: settings.threads
            )
            values += side.product.values
        }
        return Matrix(rows: count, columns: side.layer.outputs, values: values)
    }
}
