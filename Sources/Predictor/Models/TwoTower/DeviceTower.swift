// SPDX-License-Identifier: Apache-2.0
import CUDA

/// `Tower` on a device.
final class DeviceTower {
    private let input: DeviceInput
    private let dense: DeviceDenseLayers
    private let normalise: DeviceNormalise?

    init(_ tower: Tower, _ layers: DeviceLayers) throws {
        input = try DeviceInput(tower.input, layers)
        dense = try DeviceDenseLayers(tower.dense, layers)
        normalise =
            tower.normalise == nil ? nil : try DeviceNormalise(columns: tower.width, layers)
    }

    var parameters: [DeviceParameter] { input.parameters + dense.parameters }

    /// Adds what `forward` needs to the batch.
    func stage(_ entities: [Int32]) { input.stage(entities) }

    /// entities × width, valid until the next call.
    func forward(step: Int) throws(CUDAError) -> DeviceMatrix {
        try input.forward(into: dense.input)
        try dense.forward(step: step)
        guard let normalise else { return dense.output }
        try normalise.forward(dense.output)
        return normalise.output
    }

    /// Where the gradient of what `forward` made is to be written.
    var gradient: DeviceMatrix { dense.outputGradient }

    func backward(step: Int) throws(CUDAError) -> [DeviceParameter.Gradient] {
        try normalise?.backward(gradient)
        try dense.backward(step: step)
        return try dense.gradients + input.backward(dense.inputGradient)
    }
}
