// SPDX-License-Identifier: Apache-2.0
private import Tables

/// Two towers and the loss between them.
@safe final class TwoTowerNetwork: Learner {
    private let settings: TwoTowerSettings
    private let smoothing: GraphSmoothing?
    private let users: Tower
    private let items: Tower
    private let loss: ContrastiveLoss
    private var candidates: Candidates
    private var targets = ContrastiveLoss.Targets()
    /// The step that both are of.
    private var prepared: Int?
    private let queue: NegativeQueue
    /// What the queries of the loss are compared with, where there is a queue.
    private let joined: RowBuffer
    private let validation: Validation?
    private let training: DeviceTraining<DeviceTwoTower>?

    init(
        _ dataset: Dataset,
        on parts: Set<Part>,
        _ settings: TwoTowerSettings,
        validates: Bool,
        on gpu: GPU? = nil
    ) throws(PredictorError) {
        self.settings = settings
        try TrainingMemory.check(
            settings.memory(users: dataset.users.count, items: dataset.items.count, dataset.schema),
            of: dataset
        )
        smoothing = settings.smoothing.map { GraphSmoothing(dataset, on: parts, weight: $0) }
        var generator = SeededGenerator(seed: settings.training.seed, stream: -1)
        func tower(
            _ name: String,
            _ entity: Feature.Entity,
            _ generator: inout SeededGenerator
        ) throws(PredictorError) -> Tower {
            let input = try EntityInput(
                dataset,
                of: entity,
                on: parts,
                settings.style,
                for: settings.optimiser.kind,
                &generator
            )
            return Tower(name, input, settings, &generator)
        }
        users = try tower("user-tower", .users, &generator)
        items = try tower("item-tower", .items, &generator)
        guard users.width == items.width else {
            throw .input(
                """
                the vectors of users have \(users.width) numbers, those of items \(items.width)
                """,
                hint: "give `towers:` a last layer, which both then have"
            )
        }
        loss = ContrastiveLoss(
            columns: users.width,
            temperature: settings.temperature,
            threads: settings.threads
        )
        candidates = Candidates(dataset.itemCounts(in: parts), settings.candidates)
        queue = NegativeQueue(capacity: settings.queue, columns: users.width)
        joined = RowBuffer(columns: users.width)
        validation =
            validates ? Validation(dataset, seed: settings.training.seed, on: gpu) : nil
        training = DeviceTraining(gpu) { [users, items, queue] layers in
            try DeviceTwoTower(
                users: users,
                items: items,
                temperature: settings.temperature,
                queue,
                layers
            )
        }
    }

    var parameters: [(name: String, parameter: Parameter)] { users.parameters + items.parameters }
    var memory: [String: Tensor] { queue.tensors }
    func remember(from file: TensorFile) throws(PredictorError) { try queue.restore(from: file) }

    func learn(_ batch: LoadedBatch, next: LoadedBatch?, step: Int, of steps: Int) throws -> Double
    {
        if prepared != step { prepare(batch, step) }
        let addedLoss = candidates.addedLoss
        let onDevice = try training?.learn(
            step: step,
            stage: { stage(batch, on: $0) },
            launch: { device, update in
                try device.learn(settings.optimiser, step: step, of: steps, update)
                if queue.isKept { queue.push(candidates.items, biases: candidates.biases) }
            },
            ahead: next.map { next in
                { device in
                    self.prepare(next, step + 1)
                    self.stage(next, on: device)
                }
            }
        )
        return addedLoss + (onDevice ?? learnHere(batch, step: step, of: steps))
    }

    /// Chooses what the step's items are compared with.
    private func prepare(_ batch: LoadedBatch, _ step: Int) {
        candidates.fill(batch.items, step: step)
        targets = candidates.targets
        if queue.isKept {
            queue.add(to: &targets, items: batch.items, first: candidates.items.count)
        }
        prepared = step
    }

    private func stage(_ batch: LoadedBatch, on device: DeviceTwoTower) {
        device.stage(users: batch.users, items: candidates.items, targets)
    }

    private func learnHere(_ batch: LoadedBatch, step: Int, of steps: Int) -> Double {
        let q = users.forward(batch.users, step: step)
        let own = items.forward(candidates.items, step: step)
        var c = own
        if queue.isKept {
            queue.join(own, into: joined)
            c = joined
        }
        let value = loss.run(
            q,
            c,
            targets,
            dq: users.gradient,
            dc: items.gradient,
            rowsOfC: own.rows
        )
        if queue.isKept { queue.push(own.values, candidates.items, biases: candidates.biases) }
        users.backward(step: step)
        items.backward(step: step)
        let optimiser = Optimiser(
            settings.optimiser,
            step: step,
            of: steps,
            squares: settings.optimiser.clips ? users.squares + items.squares : nil
        )
        users.update(optimiser)
        items.update(optimiser)
        return value
    }

    var device: String? { training?.name }
    func settle() throws { try training?.settle() }

    func validate(_ progress: (Double) throws -> Void) throws -> Double? {
        guard let validation, !validation.isEmpty else { return nil }
        return try validation.value(of: try model(users: validation.users), progress)
    }

    /// Both matrices, for those who are known by more than an id that training did not meet.
    func model() throws(PredictorError) -> RetrievalModel {
        try model(users: users.input.isMet.indices.map { Int32($0) })
    }

    private func model(users wanted: [Int32]) throws(PredictorError) -> RetrievalModel {
        let known = wanted.filter { users.input.knows($0) }
        let queries = vectors(users, known)
        let itemCount = items.input.isMet.count
        let offered = (0..<Int32(itemCount)).filter { items.input.knows($0) }
        var rows = [Int32](repeating: -1, count: users.input.isMet.count)
        for (row, user) in known.enumerated() { rows[Int(user)] = Int32(row) }
        var vectors = vectors(items, offered)
        if let smoothing {
            let all = users.input.isMet.indices.map { Int32($0) }.filter { users.input.knows($0) }
            smoothing.add(
                to: &vectors,
                rows: RetrievalModel.rows(of: offered, itemCount: itemCount),
                users: all == known ? queries : self.vectors(users, all),
                known: all
            )
        }
        return RetrievalModel(
            kind: TwoTower.kind,
            vectors: vectors,
            items: offered,
            itemCount: itemCount,
            queries: .users(queries, rows: rows)
        )
    }

    private func vectors(_ tower: Tower, _ entities: [Int32]) -> Matrix {
        tower.input.fillUnknown()
        var values: [Float] = []
        values.reserveCapacity(entities.count * tower.width)
        for first in stride(from: 0, to: entities.count, by: settings.training.batch) {
            let some = entities[first..<min(first + settings.training.batch, entities.count)]
            values += tower.forward(Array(some)).values
        }
        return Matrix(rows: entities.count, columns: tower.width, values: values)
    }
}
