// SPDX-License-Identifier: Apache-2.0
import CKernels

/// Layers of a transformer, with dropout before the first and behind the last.
@safe final class Transformer: @unchecked Sendable {
    let layers: [TransformerLayer]
    let inputDropout: Dropout
    let outputDropout: Dropout
    /// What goes into each layer, and comes out of the last; and their gradients.
    private let values: [RowBuffer]
    private let gradientsOfValues: [RowBuffer]

    init(
        _ settings: TransformerSettings,
        for kind: OptimiserKind,
        _ generator: inout SeededGenerator
    ) {
        var layers: [TransformerLayer] = []
        for _ in 0..<settings.layers {
            layers.append(TransformerLayer(settings, for: kind, &generator))
        }
        self.layers = layers
        inputDropout = Dropout(rate: settings.dropout, seed: generator.index(below: 1 << 30))
        outputDropout = Dropout(rate: settings.dropout, seed: generator.index(below: 1 << 30))
        values = (0...settings.layers).map { _ in RowBuffer(columns: settings.width) }
        gradientsOfValues = (0...settings.layers).map { _ in RowBuffer(columns: settings.width) }
    }

    /// The same weights, for another part of a batch.
    init(sharing other: Transformer) {
        layers = other.layers.map { TransformerLayer(sharing: $0) }
        inputDropout = other.inputDropout
        outputDropout = other.outputDropout
        values = other.values.map { RowBuffer(columns: $0.columns) }
        gradientsOfValues = other.values.map { RowBuffer(columns: $0.columns) }
    }

    /// To be written before `forward`: a row for each of the sequences' rows.
    var input: RowBuffer { values[0] }
    /// A row for each that was selected.
    var output: RowBuffer { values[layers.count] }
    /// To be written before `backward`.
    var outputGradient: RowBuffer { gradientsOfValues[layers.count] }
    var inputGradient: RowBuffer { gradientsOfValues[0] }

    /// The last layer is worked out for the selected rows alone.
    func forward(_ sequences: Sequences, _ selected: SelectedRows, _ pass: TransformerPass) {
        drop(input, inputDropout, pass.step, first: pass.firstRow)
        for (place, layer) in layers.enumerated() {
            layer.forward(
                values[place],
                sequences,
                place + 1 == layers.count ? selected : nil,
                into: values[place + 1],
                pass
            )
        }
        drop(output, outputDropout, pass.step, first: pass.firstSelected)
    }

    func backward(_ sequences: Sequences, _ selected: SelectedRows, _ pass: TransformerPass) {
        drop(outputGradient, outputDropout, pass.step, first: pass.firstSelected)
        for (place, layer) in layers.enumerated().reversed() {
            layer.backward(
                gradientsOfValues[place + 1],
                x: values[place],
                sequences,
                place + 1 == layers.count ? selected : nil,
                into: gradientsOfValues[place],
                pass
            )
        }
        drop(inputGradient, inputDropout, pass.step, first: pass.firstRow)
    }

    private func drop(_ x: RowBuffer, _ dropout: Dropout, _ step: Int?, first: Int) {
        var kernel = dropout.kernel(step: step, first: first)
        unsafe larder_dropout(&kernel, x.start, x.rows, x.columns)
    }

    var gradients: [Gradient] { layers.flatMap(\.gradients) }

    func parameters(_ name: String) -> [(name: String, parameter: Parameter)] {
        layers.enumerated().flatMap { $1.parameters("\(name).\($0)") }
    }
}
