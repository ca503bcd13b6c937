// SPDX-License-Identifier: Apache-2.0
import CKernels
import CUDA

/// `LayerNorm` on a device.
final class DeviceLayerNorm {
    private let norm: LayerNorm
    private let layers: DeviceLayers
    private let gain: DeviceParameter
    private let shift: DeviceParameter
    private let gainGradient: DeviceMatrix
    private let shiftGradient: DeviceMatrix
    private let direction: DeviceMatrix
    private let inverse: DeviceMatrix
    private let along: DeviceMatrix
    private let forward: Kernel
    private let backward: Kernel

    init(_ norm: LayerNorm, _ layers: DeviceLayers) throws(CUDAError) {
        self.norm = norm
        self.layers = layers
        let columns = norm.gain.columns
        gain = try DeviceParameter(norm.gain, layers)
        shift = try DeviceParameter(norm.shift, layers)
        gainGradient = try layers.matrix(rows: 1, columns: columns)
        shiftGradient = try layers.matrix(rows: 1, columns: columns)
        direction = try layers.matrix(columns: columns)
        inverse = try layers.matrix(columns: 1)
        along = try layers.matrix(columns: columns)
        forward = try layers.kernel("norm")
        backward = try layers.kernel("norm_back")
    }

    var parameters: [DeviceParameter] { [gain, shift] }
    var gradients: [DeviceParameter.Gradient] {
        [
            DeviceParameter.Gradient(parameter: gain, pieces: gainGradient),
            DeviceParameter.Gradient(parameter: shift, pieces: shiftGradient),
        ]
    }

    func forward(
        _ a: DeviceMatrix,
        bias: DeviceParameter?,
        plus x: DeviceMatrix,
        into y: DeviceMatrix,
        _ dropout: larder_dropout
    ) throws(CUDAError) {
        for matrix in [y, direction, inverse] { try matrix.resize(rows: x.rows) }
        var arguments = Kernel.Arguments()
        arguments.append(a.array)
        arguments.append(bias?.values.array)
        arguments.append(x.array)
        arguments.append(Int32(x.columns))
        arguments.append(norm.epsilon)
        arguments.append(gain.values.array)
        arguments.append(shift.values.array)
        arguments.append(dropout)
        arguments.append(direction.array)
        arguments.append(inverse.array)
        arguments.append(y.array)
        try forward.launch(rows: x.rows, arguments)
    }

    /// The gradient of z from that of y.
    func backward(_ gradient: DeviceMatrix, into dz: DeviceMatrix) throws(CUDAError) {
        for matrix in [dz, along] { try matrix.resize(rows: gradient.rows) }
        var arguments = Kernel.Arguments()
        arguments.append(gradient.array)
        arguments.append(direction.array)
        arguments.append(inverse.array)
        arguments.append(Int32(gradient.columns))
        arguments.append(gain.values.array)
        arguments.append(dz.array)
        arguments.append(along.array)
        try backward.launch(rows: gradient.rows, arguments)
        try layers.sums(of: along.operand(), into: gainGradient.operand())
        try layers.sums(of: gradient.operand(), into: shiftGradient.operand())
    }
}
