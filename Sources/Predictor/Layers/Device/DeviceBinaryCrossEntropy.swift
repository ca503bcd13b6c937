// SPDX-License-Identifier: Apache-2.0
import CUDA

/// `BinaryCrossEntropy` on a device.
final class DeviceBinaryCrossEntropy {
    private let batch: DeviceBatch
    private let run: Kernel
    private let losses: DeviceMatrix
    private var labels: DeviceBatch.Part<Float>?

    init(_ layers: DeviceLayers) throws(CUDAError) {
        batch = layers.batch
        run = try layers.kernel("binary_cross_entropy")
        losses = try layers.matrix(columns: 1)
    }

    /// Adds what `run` needs to the batch.
    func stage(_ labels: [Float]) { self.labels = batch.add(labels) }

    /// The gradient of the mean over the examples; their losses are to be asked for by `loss`.
    func run(_ logits: DeviceMatrix, gradient: DeviceMatrix) throws(CUDAError) {
        guard let labels else { return }
        try gradient.resize(rows: logits.rows)
        try losses.resize(rows: logits.rows)
        var arguments = Kernel.Arguments()
        arguments.append(logits.array)
        batch.append(labels, to: &arguments)
        arguments.append(Int32(logits.rows))
        arguments.append(1 / Float(max(1, logits.rows)))
        arguments.append(gradient.array)
        arguments.append(losses.array)
        try run.launch(for: logits.rows, arguments)
    }

    /// The mean over the examples of the last `run`; waits for it.
    func loss() throws(CUDAError) -> Double { try losses.mean() }
}
