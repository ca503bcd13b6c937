// SPDX-License-Identifier: Apache-2.0
import CUDA

/// The towers of a two-tower network and the loss between them, on a device: the same steps as on a processor, but
/// for the last bits.
final class DeviceTwoTower: DeviceTwin {
    private let layers: DeviceLayers
    private let users: DeviceTower
    private let items: DeviceTower
    private let loss: DeviceContrastiveLoss
    /// What queries are compared with, where there is a queue of earlier vectors.
    private let joined: DeviceMatrix
    private let update: DeviceUpdate

    var isMoving: Bool { update.isMoving }

    init(users: Tower, items: Tower, temperature: Double, _ layers: DeviceLayers) throws {
        self.layers = layers
        update = try DeviceUpdate(layers)
        self.users = try DeviceTower(users, layers)
        self.items = try DeviceTower(items, layers)
        loss = try DeviceContrastiveLoss(temperature: temperature, layers)
        joined = try layers.matrix(columns: users.width)
    }

    var parameters: [DeviceParameter] { users.parameters + items.parameters }

    /// Takes what a step needs.
    func stage(
        users queries: [Int32],
        items candidates: [Int32],
        _ targets: ContrastiveLoss.Targets
    ) {
        layers.batch.begin()
        users.stage(queries)
        items.stage(candidates)
        loss.stage(targets)
    }

    /// Moves the weights.
    ///
    /// `keep` is given the vectors of the items where `earlier` has others, which are compared with too.
    func learn(
        earlier: [Float]?,
        keep: ([Float]) -> Void,
        _ settings: OptimiserSettings,
        step: Int,
        of steps: Int
    ) throws {
        update.beginStep()
        try layers.batch.send()
        let q = try users.forward(step: step)
        let own = try items.forward(step: step)
        var c = own
        var values: [Float]?
        if let earlier {
            // A queue lives on the processor: it is small beside what a step computes.
            let new = try own.values()
            try joined.resize(rows: own.rows + earlier.count / own.columns)
            try joined.array.upload((new + earlier)[...])
            values = new
            c = joined
        }
        try loss.run(q, c, dq: users.gradient, dc: items.gradient, rowsOfC: own.rows)
        try update.move(
            by: users.backward(step: step) + items.backward(step: step),
            settings,
            step: step,
            of: steps
        )
        if let values { keep(values) }
    }

    func finish() throws -> Double {
        try update.finishStep()
        return try loss.loss()
    }
}
