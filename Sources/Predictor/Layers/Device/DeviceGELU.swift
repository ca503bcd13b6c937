// SPDX-License-Identifier: Apache-2.0
import CKernels
import CUDA

/// x · Φ(x) with a bias before and dropout behind, on a device.
struct DeviceGELU {
    private let forward: Kernel
    private let backward: Kernel

    init(_ layers: DeviceLayers) throws(CUDAError) {
        forward = try layers.kernel("gelu")
        backward = try layers.kernel("gelu_back")
    }

    /// Leaves the bias in x.
    func forward(
        _ x: DeviceMatrix,
        bias: DeviceParameter,
        into y: DeviceMatrix,
        _ dropout: larder_dropout
    ) throws(CUDAError) {
        try y.resize(rows: x.rows)
        var arguments = Kernel.Arguments()
        arguments.append(x.array)
        arguments.append(bias.values.array)
        arguments.append(y.array)
        arguments.append(Int64(x.count))
        arguments.append(Int32(x.columns))
        arguments.append(dropout)
        try forward.launch(for: x.count, arguments)
    }

    /// The gradient of x, in place of that of y.
    func backward(
        _ gradient: DeviceMatrix,
        x: DeviceMatrix,
        _ dropout: larder_dropout
    ) throws(CUDAError) {
        var arguments = Kernel.Arguments()
        arguments.append(gradient.array)
        arguments.append(x.array)
        arguments.append(Int64(x.count))
        arguments.append(Int32(x.columns))
        arguments.append(dropout)
        try backward.launch(for: x.count, arguments)
    }
}
