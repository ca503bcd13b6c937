// SPDX-License-Identifier: Apache-2.0
import CKernels
import CUDA

/// `DenseLayers` on a device.
final class DeviceDenseLayers {
    private let dense: DenseLayers
    private let layers: [DeviceLinear]
    private let rows: DeviceRows
    /// The input of each layer, and what the last one makes; and their gradients.
    private let values: [DeviceMatrix]
    private let slopes: [DeviceMatrix]

    init(_ dense: DenseLayers, _ layers: DeviceLayers) throws {
        self.dense = dense
        self.layers = try dense.layers.map { try DeviceLinear($0, layers) }
        rows = layers.rows
        let widths = [dense.input.columns] + dense.layers.map(\.outputs)
        values = try widths.map { try layers.matrix(columns: $0) }
        slopes = try widths.map { try layers.matrix(columns: $0) }
    }

    /// To be written before `forward`.
    var input: DeviceMatrix { values[0] }
    var output: DeviceMatrix { values[layers.count] }
    /// To be written before `backward`.
    var outputGradient: DeviceMatrix { slopes[layers.count] }
    var inputGradient: DeviceMatrix { slopes[0] }
    var parameters: [DeviceParameter] { layers.flatMap(\.parameters) }
    var gradients: [DeviceParameter.Gradient] { layers.flatMap(\.gradients) }

    func forward(step: Int) throws(CUDAError) {
        for (place, layer) in layers.enumerated() {
            try drop(values[place], place, step)
            try layer.forward(values[place], into: values[place + 1])
        }
    }

    func backward(step: Int) throws(CUDAError) {
        for (place, layer) in layers.enumerated().reversed() {
            try layer.backward(
                slopes[place + 1],
                x: values[place],
                y: values[place + 1],
                into: slopes[place]
            )
            try drop(slopes[place], place, step)
        }
    }

    private func drop(_ x: DeviceMatrix, _ place: Int, _ step: Int) throws(CUDAError) {
        guard dense.dropout.rate > 0 else { return }
        let dropout = dense.dropout.kernel(step: dense.dropoutStep(step, place), first: 0)
        try rows.copy(x, into: x, dropout)
    }
}
