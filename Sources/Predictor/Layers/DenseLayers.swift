// SPDX-License-Identifier: Apache-2.0

/// Dense layers one behind the other, with dropout before each.
@safe final class DenseLayers: @unchecked Sendable {
    let layers: [Linear]
    let dropout: Dropout
    private let threads: Int
    /// The input of each layer, and what the last one makes; and their gradients.
    private let values: [RowBuffer]
    private let slopes: [RowBuffer]

    /// `rectifiesLast`: the last layer too; with no outputs there is no layer, and the input is
    /// what comes out.
    init(
        inputs: Int,
        outputs: [Int],
        rectifiesLast: Bool,
        dropout rate: Double,
        for kind: OptimiserKind,
        threads: Int,
        _ generator: inout SeededGenerator
    ) {
        let widths = [inputs] + outputs
        layers = outputs.indices.map { place in
            Linear(
                inputs: widths[place],
                outputs: widths[place + 1],
                rectifies: rectifiesLast || place + 1 < outputs.count,
                for: kind,
                &generator
            )
        }
        dropout = Dropout(rate: rate, seed: generator.index(below: 1 << 30))
        self.threads = threads
        values = widths.map { RowBuffer(columns: $0) }
        slopes = widths.map { RowBuffer(columns: $0) }
    }

    /// To be written before `forward`.
    var input: RowBuffer { values[0] }
    var output: RowBuffer { values[layers.count] }
    /// To be written before `backward`.
    var outputGradient: RowBuffer { slopes[layers.count] }
    var inputGradient: RowBuffer { slopes[0] }

    /// `step`: in training, for dropout.
    func forward(step: Int?) {
        for (place, layer) in layers.enumerated() {
            if let step { drop(values[place], place, step) }
            layer.forward(values[place], into: values[place + 1], threads: threads)
        }
    }

    func backward(step: Int) {
        for (place, layer) in layers.enumerated().reversed() {
            layer.backward(
                slopes[place + 1],
                x: values[place],
                y: values[place + 1],
                into: slopes[place],
                threads: threads
            )
            drop(slopes[place], place, step)
        }
    }

    private func drop(_ x: RowBuffer, _ place: Int, _ step: Int) {
        dropout.apply(to: x, step: dropoutStep(step, place), threads: threads)
    }

    /// Each layer closes other places.
    func dropoutStep(_ step: Int, _ place: Int) -> Int { step &* layers.count &+ place }

    var gradients: [Gradient] { layers.flatMap(\.gradients) }

    func parameters(_ name: String) -> [(name: String, parameter: Parameter)] {
        layers.enumerated().flatMap { $1.parameters("\(name).\($0)") }
    }
}
