// SPDX-License-Identifier: Apache-2.0
import CUDA

/// `Normalise` on a device.
final class DeviceNormalise {
    let output: DeviceMatrix
    /// 1 / |x| of each row of the last forward pass.
    private let inverse: DeviceMatrix
    private let forward: Kernel
    private let backward: Kernel

    init(columns: Int, _ layers: DeviceLayers) throws(CUDAError) {
        output = try layers.matrix(columns: columns)
        inverse = try layers.matrix(columns: 1)
        forward = try layers.kernel("normalise")
        backward = try layers.kernel("normalise_back")
    }

    func forward(_ x: DeviceMatrix) throws(CUDAError) {
        try output.resize(rows: x.rows)
        try inverse.resize(rows: x.rows)
        var arguments = Kernel.Arguments()
        arguments.append(x.array)
        arguments.append(Int32(x.columns))
        arguments.append(output.array)
        arguments.append(inverse.array)
        try forward.launch(rows: x.rows, arguments)
    }

    /// In place.
    func backward(_ gradient: DeviceMatrix) throws(CUDAError) {
        var arguments = Kernel.Arguments()
        arguments.append(gradient.array)
        arguments.append(Int32(gradient.columns))
        arguments.append(output.array)
        arguments.append(inverse.array)
        try backward.launch(rows: gradient.rows, arguments)
    }
}
