// SPDX-License-Identifier: Apache-2.0
import CUDA

/// `PairSum` on a device.
final class DevicePairSum {
    private let batch: DeviceBatch
    private let add: Kernel
    private let rectify: DeviceRectifier
    private var slots: (a: DeviceBatch.Part<Int32>, b: DeviceBatch.Part<Int32>)?

    init(_ layers: DeviceLayers) throws(CUDAError) {
        batch = layers.batch
        add = try layers.kernel("add_pairs")
        rectify = try DeviceRectifier(layers)
    }

    /// Adds what `forward` needs to the batch.
    func stage(_ slotsOfA: [Int32], _ slotsOfB: [Int32]) {
        precondition(slotsOfA.count == slotsOfB.count, "a pair of rows an example")
        slots = (batch.add(slotsOfA), batch.add(slotsOfB))
    }

    func forward(_ a: DeviceMatrix, _ b: DeviceMatrix, into y: DeviceMatrix) throws(CUDAError) {
        guard let slots else { return }
        try y.resize(rows: slots.a.count)
        var arguments = Kernel.Arguments()
        arguments.append(a.array)
        batch.append(slots.a, to: &arguments)
        arguments.append(b.array)
        batch.append(slots.b, to: &arguments)
        arguments.append(y.array)
        arguments.append(Int64(y.count))
        arguments.append(Int32(y.columns))
        try add.launch(for: y.count, arguments)
    }

    func backward(_ gradient: DeviceMatrix, y: DeviceMatrix) throws(CUDAError) {
        try rectify.backward(gradient, y: y)
    }
}
