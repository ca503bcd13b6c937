// SPDX-License-Identifier: Apache-2.0
import CKernels
import CUDA

/// `Transformer` on a device, in training.
final class DeviceTransformer {
    private let transformer: Transformer
    private let layers: [DeviceTransformerLayer]
    private let rows: DeviceRows
    /// What goes into each layer, and comes out of the last; and their gradients.
    private let values: [DeviceMatrix]
    private let slopes: [DeviceMatrix]

    /// `block`: floats that attention takes at a time, twice: 512 MiB, and an eighth.
    init(_ transformer: Transformer, _ layers: DeviceLayers, block: Int = 1 << 26) throws {
        self.transformer = transformer
        let room = try DeviceAttentionRoom(layers, block: block)
        self.layers = try transformer.layers.map { try DeviceTransformerLayer($0, layers, room) }
        rows = layers.rows
        let width = transformer.input.columns
        values = try (0...self.layers.count).map { _ in try layers.matrix(columns: width) }
        slopes = try (0...self.layers.count).map { _ in try layers.matrix(columns: width) }
    }

    /// To be written before `forward`: a row for each of the sequences' rows.
    var input: DeviceMatrix { values[0] }
    /// A row for each that was selected.
    var output: DeviceMatrix { values[layers.count] }
    /// To be written before `backward`.
    var outputGradient: DeviceMatrix { slopes[layers.count] }
    var inputGradient: DeviceMatrix { slopes[0] }
    var parameters: [DeviceParameter] { layers.flatMap(\.parameters) }
    var gradients: [DeviceParameter.Gradient] { layers.flatMap(\.gradients) }

    /// The last layer is worked out for the selected rows alone.
    func forward(_ sequences: DeviceSequences, step: Int) throws(CUDAError) {
        try drop(input, transformer.inputDropout, step)
        for (place, layer) in layers.enumerated() {
            try layer.forward(
                values[place],
                sequences,
                isLast: place + 1 == layers.count,
                into: values[place + 1],
                step: step
            )
        }
        try drop(output, transformer.outputDropout, step)
    }

    func backward(_ sequences: DeviceSequences, step: Int) throws(CUDAError) {
        try drop(outputGradient, transformer.outputDropout, step)
        for (place, layer) in layers.enumerated().reversed() {
            try layer.backward(
                slopes[place + 1],
                x: values[place],
                sequences,
                isLast: place + 1 == layers.count,
                into: slopes[place],
                step: step
            )
        }
        try drop(inputGradient, transformer.inputDropout, step)
    }

    private func drop(_ x: DeviceMatrix, _ dropout: Dropout, _ step: Int) throws(CUDAError) {
        guard dropout.rate > 0 else { return }
        try rows.copy(x, into: x, dropout.kernel(step: step, first: 0))
    }
}
