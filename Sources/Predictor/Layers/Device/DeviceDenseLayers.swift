// SPDX-License-Identifier: Apache-2.0
import CKernels
import CUDA

/// `DenseLayers` on a device.
final class DeviceDenseLayers {
    private let dense: DenseLayers
    private let layers: [Layer]
    private let products: MatrixProducts
    private let bias: Kernel
    private let rectifyBack: Kernel
    private let dropout: Kernel
    /// The input of each layer, and what the last one makes; and their gradients.
    private let values: [DeviceMatrix]
    private let slopes: [DeviceMatrix]
    /// One column of them: its product with a gradient is the sum of that one's rows.
    private let ones: DeviceMatrix

    private struct Layer {
        let rectifies: Bool
        let weight: DeviceParameter
        let bias: DeviceParameter?
        let weightGradient: DeviceMatrix
        let biasGradient: DeviceMatrix
    }

    init(_ dense: DenseLayers, _ layers: DeviceLayers) throws {
        self.dense = dense
        products = layers.products
        bias = try layers.kernel("add_bias")
        rectifyBack = try layers.kernel("rectify_back")
        dropout = try layers.kernel("dropout")
        var own: [Layer] = []
        for linear in dense.layers {
            let layer = Layer(
                rectifies: linear.rectifies,
                weight: try DeviceParameter(linear.weight, layers),
                bias: try linear.bias.map { try DeviceParameter($0, layers) },
                weightGradient: try layers.matrix(columns: linear.outputs),
                biasGradient: try layers.matrix(columns: linear.outputs)
            )
            try layer.weightGradient.resize(rows: linear.inputs)
            try layer.biasGradient.resize(rows: 1)
            own.append(layer)
        }
        self.layers = own
        var values: [DeviceMatrix] = []
        var slopes: [DeviceMatrix] = []
        for columns in [dense.input.columns] + dense.layers.map(\.outputs) {
            values.append(try layers.matrix(columns: columns))
            slopes.append(try layers.matrix(columns: columns))
        }
        (self.values, self.slopes) = (values, slopes)
        ones = try layers.matrix(columns: 1)
    }

    /// To be written before `forward`.
    var input: DeviceMatrix { values[0] }
    var output: DeviceMatrix { values[layers.count] }
    /// To be written before `backward`.
    var outputGradient: DeviceMatrix { slopes[layers.count] }
    var inputGradient: DeviceMatrix { slopes[0] }
    var parameters: [DeviceParameter] {
        layers.flatMap { [$0.weight] + ($0.bias.map { [$0] } ?? []) }
    }
    var gradients: [DeviceParameter.Gradient] {
        layers.flatMap { layer in
            [DeviceParameter.Gradient(parameter: layer.weight, pieces: layer.weightGradient)]
                + (layer.bias.map {
                    [DeviceParameter.Gradient(parameter: $0, pieces: layer.biasGradient)]
                } ?? [])
        }
    }

    func forward(step: Int) throws(CUDAError) {
        for (place, layer) in layers.enumerated() {
            let (x, y) = (values[place], values[place + 1])
            try drop(x, place, step)
            try y.resize(rows: x.rows)
            try products.multiply(x.operand(), layer.weight.values.operand(), into: y.operand())
            guard let own = layer.bias else { continue }
            var arguments = Kernel.Arguments()
            arguments.append(y.array)
            arguments.append(own.values.array)
            arguments.append(Int64(y.count))
            arguments.append(Int32(y.columns))
            arguments.append(Int32(layer.rectifies ? 1 : 0))
            try bias.launch(for: y.count, arguments)
        }
    }

    func backward(step: Int) throws(CUDAError) {
        for (place, layer) in layers.enumerated().reversed() {
            let (x, y) = (values[place], values[place + 1])
            let (dx, gradient) = (slopes[place], slopes[place + 1])
            if layer.rectifies {
                var arguments = Kernel.Arguments()
                arguments.append(gradient.array)
                arguments.append(y.array)
                arguments.append(Int64(y.count))
                try rectifyBack.launch(for: y.count, arguments)
            }
            try dx.resize(rows: x.rows)
            try products.multiply(
                x.operand().transposed,
                gradient.operand(),
                into: layer.weightGradient.operand()
            )
            if layer.bias != nil {
                if ones.rows < x.rows {
                    try ones.resize(rows: x.rows)
                    try ones.array.upload([Float](repeating: 1, count: x.rows)[...])
                }
                try products.multiply(
                    ones.operand(0..<x.rows).transposed,
                    gradient.operand(),
                    into: layer.biasGradient.operand()
                )
            }
            try products.multiply(
                gradient.operand(),
                layer.weight.values.operand().transposed,
                into: dx.operand()
            )
            try drop(dx, place, step)
        }
    }

    private func drop(_ x: DeviceMatrix, _ place: Int, _ step: Int) throws(CUDAError) {
        guard dense.dropout.rate > 0 else { return }
        let kernel = dense.dropout.kernel(step: dense.dropoutStep(step, place), first: 0)
        var arguments = Kernel.Arguments()
        arguments.append(x.array)
        arguments.append(Int64(x.count))
        arguments.append(kernel.seed)
        arguments.append(kernel.closed)
        arguments.append(kernel.scale)
        try dropout.launch(for: x.count, arguments)
    }
}
