// SPDX-License-Identifier: Apache-2.0
import CUDA

/// The way back through max(0, ·).
struct DeviceRectifier {
    private let back: Kernel

    init(_ layers: DeviceLayers) throws(CUDAError) { back = try layers.kernel("rectify_back") }

    /// Clears the gradient where y is closed.
    func backward(_ gradient: DeviceMatrix, y: DeviceMatrix) throws(CUDAError) {
        var arguments = Kernel.Arguments()
        arguments.append(gradient.array)
        arguments.append(y.array)
        arguments.append(Int64(y.count))
        try back.launch(for: y.count, arguments)
    }
}
