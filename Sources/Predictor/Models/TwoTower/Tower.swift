// SPDX-License-Identifier: Apache-2.0

/// Entities in, vectors out: an input, dense layers, and a length of one where that is wanted.
@safe final class Tower: HasParameters, @unchecked Sendable {
    let input: EntityInput
    private let name: String
    let dense: DenseLayers
    let normalise: Normalise?
    private let normalised: RowBuffer
    private let threads: Int

    init(
        _ name: String,
        _ input: EntityInput,
        _ settings: TwoTowerSettings,
        _ generator: inout SeededGenerator
    ) {
        self.name = name
        self.input = input
        threads = settings.threads
        dense = DenseLayers(
            inputs: input.width,
            outputs: settings.towers,
            rectifiesLast: settings.isMerlin,
            dropout: settings.dropout,
            for: settings.optimiser.kind,
            threads: settings.threads,
            &generator
        )
        normalise = settings.normalise ? Normalise() : nil
        normalised = RowBuffer(columns: dense.output.columns)
    }

    var width: Int { dense.output.columns }
    var parameters: [(name: String, parameter: Parameter)] {
        input.parameters + dense.parameters(name)
    }

    /// entities × width, valid until the next call.
    ///
    /// `step`: in training, for dropout.
    func forward(_ entities: [Int32], step: Int? = nil) -> RowBuffer {
        input.forward(entities, into: dense.input, threads: threads)
        dense.forward(step: step)
        guard let normalise else { return dense.output }
        normalise.forward(dense.output, into: normalised, threads: threads)
        return normalised
    }

    /// Where the gradient of what `forward` made is to be written.
    var gradient: RowBuffer { dense.outputGradient }

    func backward(step: Int) {
        normalise?.backward(gradient, y: normalised, threads: threads)
        dense.backward(step: step)
    }

    /// The sum of the squares of all gradients.
    var squares: Double { input.squares(dense.inputGradient) + dense.gradients.squares }

    func update(_ optimiser: Optimiser) {
        dense.gradients.update(optimiser, threads: threads)
        input.update(dense.inputGradient, optimiser, threads: threads)
    }
}
