// SPDX-License-Identifier: Apache-2.0
import CUDA

/// The towers of a two-tower network and the loss between them, on a device: the same steps as on a processor, but
/// for the last bits.
final class DeviceTwoTower: DeviceTwin {
    private let users: DeviceTower
    private let items: DeviceTower
    private let loss: DeviceContrastiveLoss
    private let queue: DeviceNegativeQueue?

    init(
        users: Tower,
        items: Tower,
        temperature: Double,
        _ queue: NegativeQueue,
        _ layers: DeviceLayers
    ) throws {
        self.users = try DeviceTower(users, layers)
        self.items = try DeviceTower(items, layers)
        loss = try DeviceContrastiveLoss(temperature: temperature, layers)
        self.queue = queue.isKept ? try DeviceNegativeQueue(queue, layers) : nil
    }

    var parameters: [DeviceParameter] { users.parameters + items.parameters }

    /// Takes what a step needs.
    func stage(
        users queries: [Int32],
        items candidates: [Int32],
        _ targets: ContrastiveLoss.Targets
    ) {
        users.stage(queries)
        items.stage(candidates)
        loss.stage(targets)
    }

    /// Moves the weights.
    func learn(
        _ settings: OptimiserSettings,
        step: Int,
        of steps: Int,
        _ update: DeviceUpdate
    ) throws {
        let q = try users.forward(step: step)
        let own = try items.forward(step: step)
        let c = try queue?.join(own) ?? own
        try loss.run(q, c, dq: users.gradient, dc: items.gradient, rowsOfC: own.rows)
        try update.move(
            by: users.backward(step: step) + items.backward(step: step),
            settings,
            step: step,
            of: steps
        )
        try queue?.push(own)
    }

    func settle() throws {
        for parameter in parameters { try parameter.settle() }
        try queue?.settle()
    }

    func meanLoss() throws -> Double { try loss.loss() }
}
