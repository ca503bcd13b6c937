// SPDX-License-Identifier: Apache-2.0
import CUDA

/// `Linear` on a device.
final class DeviceLinear {
    private let linear: Linear
    private let layers: DeviceLayers
    private let weight: DeviceParameter
    let bias: DeviceParameter?
    private let weightGradient: DeviceMatrix
    private let biasGradient: DeviceMatrix
    private let rectify: DeviceRectifier

    init(_ linear: Linear, _ layers: DeviceLayers) throws(CUDAError) {
        self.linear = linear
        self.layers = layers
        weight = try DeviceParameter(linear.weight, layers)
        if let bias = linear.bias {
            self.bias = try DeviceParameter(bias, layers)
        } else {
            bias = nil
        }
        weightGradient = try layers.matrix(rows: linear.inputs, columns: linear.outputs)
        biasGradient = try layers.matrix(rows: 1, columns: linear.outputs)
        rectify = try DeviceRectifier(layers)
    }

    var parameters: [DeviceParameter] { [weight] + (bias.map { [$0] } ?? []) }
    var gradients: [DeviceParameter.Gradient] {
        [DeviceParameter.Gradient(parameter: weight, pieces: weightGradient)]
            + (bias.map { [DeviceParameter.Gradient(parameter: $0, pieces: biasGradient)] } ?? [])
    }

    /// `addsBias`: otherwise whoever comes next does.
    func forward(
        _ x: DeviceMatrix,
        into y: DeviceMatrix,
        addsBias: Bool = true
    ) throws(CUDAError) {
        try y.resize(rows: x.rows)
        try layers.products.multiply(x.operand(), weight.values.operand(), into: y.operand())
        guard let bias, addsBias else { return }
        try layers.rows.addBias(bias, to: y, into: y, rectifies: linear.rectifies)
    }

    /// As `Linear.backward`; the gradient is cleared where the rectifier closed y.
    func backward(
        _ gradient: DeviceMatrix,
        x: DeviceMatrix,
        y: DeviceMatrix,
        into dx: DeviceMatrix?,
        adds: Bool = false
    ) throws(CUDAError) {
        if linear.rectifies { try rectify.backward(gradient, y: y) }
        try layers.products.multiply(
            x.operand().transposed,
            gradient.operand(),
            into: weightGradient.operand()
        )
        if bias != nil {
            try layers.sums(of: gradient.operand(), into: biasGradient.operand())
        }
        guard let dx else { return }
        if !adds { try dx.resize(rows: x.rows) }
        try layers.products.multiply(
            gradient.operand(),
            weight.values.operand().transposed,
            adds: adds,
            into: dx.operand()
        )
    }
}
