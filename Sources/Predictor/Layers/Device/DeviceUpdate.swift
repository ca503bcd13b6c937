// SPDX-License-Identifier: Apache-2.0
import CUDA

/// Moves parameters by their gradients, at once or, where these are to be clipped, when it is known how long they are
/// together: until then there is time for something else.
final class DeviceUpdate {
    /// What waits for the squares.
    private struct Pending {
        let gradients: [DeviceParameter.Gradient]
        let settings: OptimiserSettings
        let step: Int
        let steps: Int
        let earlier: Int
        let blocks: Int
    }

    private let device: Device
    /// Of the blocks of threads that add them up.
    private var squares: DeviceArray<Double>
    private var pending: Pending?
    /// Whether parameters move since the step's beginning.
    private(set) var isMoving = false

    init(_ layers: DeviceLayers) throws(CUDAError) {
        device = layers.device
        squares = try DeviceArray(0, on: device)
    }

    func beginStep() { (pending, isMoving) = (nil, false) }

    /// `earlier`: steps before the first of this schedule.
    func move(
        by gradients: [DeviceParameter.Gradient],
        _ settings: OptimiserSettings,
        step: Int,
        of steps: Int,
        after earlier: Int = 0
    ) throws(CUDAError) {
        guard settings.clips else {
            return try move(
                gradients,
                Optimiser(settings, step: step, of: steps, after: earlier)
            )
        }
        let blocks = gradients.reduce(0) { $0 + $1.blocks }
        if squares.count < blocks { squares = try DeviceArray(blocks, on: device) }
        var first = 0
        for gradient in gradients {
            try gradient.sumSquares(into: squares, from: first)
            first += gradient.blocks
        }
        pending = Pending(
            gradients: gradients,
            settings: settings,
            step: step,
            steps: steps,
            earlier: earlier,
            blocks: blocks
        )
    }

    /// Does what is left of the step; waits for the gradients where they are to be clipped.
    func finishStep() throws(CUDAError) {
        guard let own = pending else { return }
        pending = nil
        let optimiser = Optimiser(
            own.settings,
            step: own.step,
            of: own.steps,
            after: own.earlier,
            squares: try squares.values(own.blocks).reduce(0, +)
        )
        try move(own.gradients, optimiser)
    }

    private func move(
        _ gradients: [DeviceParameter.Gradient],
        _ optimiser: Optimiser
    ) throws(CUDAError) {
        isMoving = true
        for gradient in gradients { try gradient.update(optimiser) }
    }
}
