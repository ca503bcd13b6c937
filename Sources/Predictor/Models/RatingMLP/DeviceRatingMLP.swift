// SPDX-License-Identifier: Apache-2.0
import CUDA

/// The layers of a rating network on a device: the same steps as on a processor, but for the last bits.
final class DeviceRatingMLP: DeviceTwin {
    /// `RatingMLPNetwork.Side` on a device.
    private struct Side {
        let side: RatingMLPNetwork.Side
        let input: DeviceInput
        let layer: DeviceLinear
        let uses: DeviceUses
        let x: DeviceMatrix
        let product: DeviceMatrix
        let gradient: DeviceMatrix
        let dx: DeviceMatrix

        init(_ side: RatingMLPNetwork.Side, _ layers: DeviceLayers) throws {
            self.side = side
            input = try DeviceInput(side.input, layers)
            layer = try DeviceLinear(side.layer, layers)
            uses = try DeviceUses(columns: side.layer.outputs, layers)
            x = try layers.matrix(columns: side.input.width)
            product = try layers.matrix(columns: side.layer.outputs)
            gradient = try layers.matrix(columns: side.layer.outputs)
            dx = try layers.matrix(columns: side.input.width)
        }

        var parameters: [DeviceParameter] { input.parameters + layer.parameters }

        func stage(_ entities: [Int32]) {
            side.distinct.use(entities)
            input.stage(side.distinct.entities)
            uses.stage(side.distinct.uses, of: 0..<Int32(side.distinct.entities.count))
        }

        func forward() throws(CUDAError) {
            try input.forward(into: x)
            try layer.forward(x, into: product)
        }

        func backward(_ dh: DeviceMatrix) throws(CUDAError) -> [DeviceParameter.Gradient] {
            try uses.sums(of: dh, into: gradient)
            try layer.backward(gradient, x: x, y: product, into: dx)
            return try layer.gradients + input.backward(dx)
        }
    }

    private let users: Side
    private let items: Side
    private let pairs: DevicePairSum
    private let dense: DeviceDenseLayers
    private let loss: DeviceBinaryCrossEntropy

    init(
        users: RatingMLPNetwork.Side,
        items: RatingMLPNetwork.Side,
        _ dense: DenseLayers,
        _ layers: DeviceLayers
    ) throws {
        self.users = try Side(users, layers)
        self.items = try Side(items, layers)
        pairs = try DevicePairSum(layers)
        self.dense = try DeviceDenseLayers(dense, layers)
        loss = try DeviceBinaryCrossEntropy(layers)
    }

    var parameters: [DeviceParameter] { users.parameters + items.parameters + dense.parameters }

    /// Takes what a step needs.
    func stage(_ examples: RatingExamples.Batch) {
        users.stage(examples.users)
        items.stage(examples.items)
        pairs.stage(users.side.distinct.slots, items.side.distinct.slots)
        loss.stage(examples.labels)
    }

    /// Moves the weights.
    func learn(
        _ settings: OptimiserSettings,
        step: Int,
        of steps: Int,
        _ update: DeviceUpdate
    ) throws {
        try users.forward()
        try items.forward()
        try pairs.forward(users.product, items.product, into: dense.input)
        try dense.forward(step: step)
        try loss.run(dense.output, gradient: dense.outputGradient)
        try dense.backward(step: step)
        try pairs.backward(dense.inputGradient, y: dense.input)
        try update.move(
            by: dense.gradients + users.backward(dense.inputGradient)
                + items.backward(dense.inputGradient),
            settings,
            step: step,
            of: steps
        )
    }

    func meanLoss() throws -> Double { try loss.loss() }
}
