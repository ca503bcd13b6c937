// SPDX-License-Identifier: Apache-2.0
import CUDA
private import Tables

/// `SessionNetwork` and the loss behind it on a device: the same steps as on a processor, but for the last bits.
final class DeviceSessionNetwork: DeviceTwin {
    /// Where the batch has what a step needs.
    private struct Staged {
        let sequences: DeviceSequences
        let hidden: DeviceBatch.Part<Int32>
        /// rows × numbers.
        let numbers: DeviceBatch.Part<Float>
    }

    private let network: SessionNetwork
    private let layers: DeviceLayers
    private let width: Int
    private let skippedCode: Int32
    private let categories: [(embedding: DeviceEmbedding, gradient: DeviceMatrix)]
    private let continuous: DeviceLinear?
    private let projections: [DeviceLinear]
    private let mask: DeviceParameter
    private let transformer: DeviceTransformer
    private let loss: DeviceItemLoss

    /// As in `SessionNetwork`.
    private let input, inputGradient: DeviceMatrix
    private let numbers: DeviceMatrix
    private let projected, projectedGradient: DeviceMatrix
    private let maskGradient, maskPieces: DeviceMatrix
    /// What each projection makes, and the last has: the transformer's input; and their gradients.
    private let values, slopes: [DeviceMatrix]
    private var staged: Staged?

    init(
        _ network: SessionNetwork,
        _ settings: SessionTransformerSettings,
        _ layers: DeviceLayers
    ) throws {
        self.network = network
        self.layers = layers
        width = settings.width
        skippedCode = settings.skippedCode
        categories = try network.categories.map { category in
            let table = category.embedding.table
            return (
                try DeviceEmbedding(category.embedding, layers),
                try layers.matrix(rows: table.rows, columns: table.columns)
            )
        }
        continuous = try network.continuous.map { try DeviceLinear($0, layers) }
        projections = try network.projections.map { try DeviceLinear($0, layers) }
        mask = try DeviceParameter(network.mask, layers)
        transformer = try DeviceTransformer(network.transformer, layers)
        loss = try DeviceItemLoss(
            network.items,
            skippedCode: settings.skippedCode,
            layers
        )
        input = try layers.matrix(columns: network.inputs)
        inputGradient = try layers.matrix(columns: network.inputs)
        numbers = try layers.matrix(columns: max(1, network.continuous?.inputs ?? 1))
        projected = try layers.matrix(columns: settings.width)
        projectedGradient = try layers.matrix(columns: settings.width)
        maskGradient = try layers.matrix(rows: 1, columns: network.mask.columns)
        maskPieces = try layers.matrix(columns: network.mask.columns)
        let inner = try network.projections.dropLast().map {
            try (layers.matrix(columns: $0.outputs), layers.matrix(columns: $0.outputs))
        }
        values = inner.map(\.0) + [transformer.input]
        slopes = inner.map(\.1) + [transformer.inputGradient]
    }

    var parameters: [DeviceParameter] {
        loss.parameters + categories.map(\.embedding.table) + (continuous?.parameters ?? [])
            + projections.flatMap(\.parameters) + [mask] + transformer.parameters
    }

    /// Takes what a step needs; `own` has aimed.
    func stage(_ examples: SessionExamples, _ own: any ItemLoss) {
        let batch = layers.batch
        let tokens = examples.tokens
        for (place, (embedding, _)) in categories.enumerated() {
            let codes = tokens.categories[place]
            network.categories[place].embedding.use(codes.values, offsets: codes.ends)
            embedding.stage(except: skippedCode)
        }
        loss.stage(own, reading: tokens.items)
        staged = Staged(
            sequences: DeviceSequences(tokens.sequences, examples.selected, batch),
            hidden: batch.add(examples.hidden),
            numbers: batch.add(tokens.numbers)
        )
    }

    /// Moves the weights.
    ///
    /// `earlier`: steps before the first of this schedule.
    func learn(
        _ settings: OptimiserSettings,
        step: Int,
        of steps: Int,
        after earlier: Int,
        _ update: DeviceUpdate
    ) throws {
        guard let staged else { preconditionFailure("staged before") }
        try embed(staged)
        try project(staged)
        try transformer.forward(staged.sequences, step: earlier + step)
        try loss.run(transformer.output, gradient: transformer.outputGradient)
        try transformer.backward(staged.sequences, step: earlier + step)
        try projectBack(staged)
        var gradients = try embedBack()
        gradients += projections.flatMap(\.gradients) + transformer.gradients
        gradients.append(DeviceParameter.Gradient(parameter: mask, pieces: maskGradient))
        try update.move(by: gradients, settings, step: step, of: steps, after: earlier)
    }

    func meanLoss() throws -> Double { try loss.value() }

    // MARK: embeddings

    private var numberColumn: Int { categories.count * width }

    private func embed(_ staged: Staged) throws(CUDAError) {
        try input.resize(rows: staged.sequences.all.count)
        for (place, (embedding, _)) in categories.enumerated() {
            try embedding.forward(into: input, column: place * width)
        }
        if let continuous {
            try numbers.resize(rows: input.rows)
            try layers.rows.copy(staged.numbers, into: numbers)
            try continuous.forward(numbers, into: projected)
            try layers.rows.copy(projected, into: input, at: numberColumn)
        }
        try loss.read(into: input)
    }

    /// All gradients of what is in front of the projections.
    private func embedBack() throws(CUDAError) -> [DeviceParameter.Gradient] {
        var gradients: [DeviceParameter.Gradient] = []
        for (place, (embedding, gradient)) in categories.enumerated() {
            try gradient.array.clear()
            try embedding.add(inputGradient, column: place * width, to: gradient)
            gradients.append(.init(parameter: embedding.table, pieces: gradient))
        }
        if let continuous {
            try projectedGradient.resize(rows: input.rows)
            try layers.rows.copy(inputGradient, column: numberColumn, into: projectedGradient)
            try continuous.backward(projectedGradient, x: numbers, y: projected, into: nil)
            gradients += continuous.gradients
        }
        if let own = try loss.gradient(inputGradient) { gradients.append(own) }
        return gradients
    }

    // MARK: projections

    private func project(_ staged: Staged) throws(CUDAError) {
        guard !projections.isEmpty else {
            try transformer.input.resize(rows: input.rows)
            try layers.rows.copy(input, into: transformer.input)
            return try hide(staged, in: transformer.input)
        }
        for (place, layer) in projections.enumerated() {
            try layer.forward(place == 0 ? input : values[place - 1], into: values[place])
            if place == 0 { try hide(staged, in: values[0]) }
        }
    }

    private func hide(_ staged: Staged, in y: DeviceMatrix) throws(CUDAError) {
        try layers.rows.fill(staged.hidden, of: y, with: mask.values)
    }

    private func projectBack(_ staged: Staged) throws(CUDAError) {
        guard !projections.isEmpty else {
            try takeHidden(staged, from: transformer.inputGradient)
            try inputGradient.resize(rows: input.rows)
            return try layers.rows.copy(transformer.inputGradient, into: inputGradient)
        }
        for (place, layer) in projections.enumerated().reversed() {
            if place == 0 { try takeHidden(staged, from: slopes[0]) }
            try layer.backward(
                slopes[place],
                x: place == 0 ? input : values[place - 1],
                y: values[place],
                into: place == 0 ? inputGradient : slopes[place - 1]
            )
        }
    }

    /// What stands behind the mask changes nothing; the mask itself does.
    private func takeHidden(_ staged: Staged, from gradient: DeviceMatrix) throws(CUDAError) {
        guard staged.hidden.count > 0 else { return try maskGradient.array.clear() }
        try layers.rows.gather(staged.hidden, of: gradient, into: maskPieces)
        try layers.sums(of: maskPieces.operand(), into: maskGradient.operand())
        try layers.rows.fill(staged.hidden, of: gradient, with: nil)
    }
}
