// SPDX-License-Identifier: Apache-2.0
private import Tables

/// Trains a session transformer: which items of a session are to be found, from what, and the loss
/// over the whole catalogue.
@safe final class SessionLearner: Learner {
    let settings: SessionTransformerSettings
    private let parts: Set<Part>
    let columns: SessionColumns
    let network: SessionNetwork
    /// Events of each item that were trained on, or are being.
    private(set) var counts: [Int]
    /// Over windows.
    var walk = SessionWalk()
    /// Whether the dataset has events of each item; an earlier model may have learned of others.
    private let isThere: [Bool]
    /// How far a training over windows came.
    private var past: SessionBase.Progress?
    private let loss: any ItemLoss
    private let validation: Validation?
    let gpu: GPU?
    private let training: DeviceTraining<DeviceSessionNetwork>?

    private var examples: SessionExamples
    /// The step that they are of, where they are of one.
    private var prepared: Int?

    init(
        _ dataset: Dataset,
        on parts: Set<Part>,
        _ settings: SessionTransformerSettings,
        validates: Bool,
        on gpu: GPU? = nil
    ) throws(PredictorError) {
        self.settings = settings
        self.parts = parts
        try TrainingMemory.check(
            settings.memory(items: dataset.items.count),
            of: dataset,
            key: "width"
        )
        columns = try SessionColumns(dataset)
        var generator = SeededGenerator(seed: settings.training.seed, stream: -1)
        network = SessionNetwork(
            settings,
            columns,
            itemCount: dataset.items.count,
            &generator
        )
        isThere = dataset.itemCounts(in: parts).map { $0 > 0 }
        counts = [Int](repeating: 0, count: dataset.items.count)
        loss =
            settings.sampledNegatives > 0
            ? SampledItemLoss(network.items, settings) : WholeItemLoss(network.items, settings)
        validation =
            validates
            ? Validation(dataset, for: .sessions, seed: settings.training.seed, on: gpu) : nil
        self.gpu = gpu
        training = DeviceTraining(gpu) { [network] layers in
            try DeviceSessionNetwork(network, settings, layers)
        }
        examples = SessionExamples(settings, columns, isMet: counts.map { $0 > 0 })
        // Window by window, items are met when their time comes.
        if settings.windows == nil {
            meet(dataset.sequences(in: parts, ofAtLeast: 2).map { Int($0) }, of: dataset)
        }
    }

    var isMet: [Bool] { counts.map { $0 > 0 } }

    /// Goes on from an earlier model.
    func begin(from base: SessionBase) throws(PredictorError) {
        counts = try base.begin(parameters, columns)
        walk.steps = base.progress.steps
        past = base.progress
        examples = SessionExamples(settings, columns, isMet: isMet)
        loss.meet(counts)
    }

    /// The events of some more sequences are trained on from now on.
    func meet(_ sequences: [Int], of dataset: Dataset) {
        var met = past ?? SessionBase.Progress(steps: 0, until: .min, newest: .min)
        for sequence in sequences {
            let events = dataset.events(ofSequence: sequence, in: parts)
            for event in events {
                counts[Int(dataset.eventItems[event])] += 1
                met.newest = max(met.newest, dataset.eventTimes[event])
            }
            let start = dataset.events(ofSequence: sequence).lowerBound
            met.until = max(met.until, dataset.eventTimes[start])
        }
        past = met
        examples = SessionExamples(settings, columns, isMet: isMet)
        loss.meet(counts)
    }

    var memory: [String: Tensor] { settings.windows == nil ? [:] : ["windows": walk.tensor] }

    /// Reads how far a training over windows had come.
    func resume(from folder: String) throws(PredictorError) {
        let file = try TensorFile("\(folder)/\(TrainingLoop.file)")
        walk = try SessionWalk(file.uint8(TrainingLoop.memoryName("windows")))
    }

    var parameters: [(name: String, parameter: Parameter)] { network.parameters }

    func learn(_ batch: LoadedBatch, next: LoadedBatch?, step: Int, of steps: Int) throws -> Double
    {
        if prepared != walk.steps + step { prepare(batch, step) }
        return try learn(examples, next: next, step: step, of: steps)
    }

    /// Chooses which items of a batch are to be found.
    private func prepare(_ batch: LoadedBatch, _ step: Int) {
        examples.removeAll()
        var generator = SeededGenerator(seed: settings.training.seed, stream: walk.steps + step)
        for example in 0..<batch.count {
            let range = Int(batch.offsets[example])..<Int(batch.offsets[example + 1])
            examples.append(items: batch.items[range], events: batch.events[range], &generator)
        }
        prepared = walk.steps + step
    }

    func learn(
        _ own: SessionExamples,
        next: LoadedBatch? = nil,
        step: Int,
        of steps: Int
    ) throws -> Double {
        // Of one event each: there is nothing to be found.
        guard !own.items.isEmpty else { return 0 }
        let onDevice = try training?.learn(
            step: walk.steps + step,
            stage: { stage(own, on: $0, step: step) },
            launch: { device, update in
                try device.learn(
                    settings.optimiser,
                    step: step,
                    of: steps,
                    after: walk.steps,
                    update
                )
            },
            ahead: next.map { next in
                { device in
                    self.prepare(next, step + 1)
                    self.stage(self.examples, on: device, step: step + 1)
                }
            }
        )
        if let onDevice { return onDevice }
        loss.aim(at: own.items, step: walk.steps + step)
        return learnHere(own, step: step, of: steps)
    }

    private func stage(
        _ examples: SessionExamples,
        on device: DeviceSessionNetwork,
        step: Int
    ) {
        loss.aim(at: examples.items, step: walk.steps + step)
        device.stage(examples, loss)
    }

    private func learnHere(_ examples: SessionExamples, step: Int, of steps: Int) -> Double {
        let vectors = network.forward(
            examples.tokens,
            examples.selected,
            hidden: examples.hidden,
            step: walk.steps + step
        )
        let value = loss.run(vectors, gradient: network.outputGradient)
        network.backward(examples.tokens)
        loss.add(network.inputGradient, of: examples.tokens.items)
        let gradients = network.gradients
        let optimiser = Optimiser(
            settings.optimiser,
            step: step,
            of: steps,
            after: walk.steps,
            squares: settings.optimiser.clips ? gradients.squares + loss.squares : nil
        )
        gradients.update(optimiser, threads: settings.threads)
        loss.update(optimiser)
        return value
    }

    var device: String? { training?.name }
    func settle() throws { try training?.settle() }

    // MARK: what came of it

    func validate(_ progress: (Double) throws -> Void) throws -> Double? {
        guard let validation, !validation.isEmpty else { return nil }
        return try validation.value(of: model(), progress)
    }

    /// The mean loss of finding these items at the end of these sessions, of those that the model
    /// knows all of; nil where there is none.
    func loss(of queries: [Query], _ items: [Int32]) -> Double? {
        let isMet = isMet
        let known = queries.indices.filter { place in
            (queries[place].history + [items[place]]).allSatisfy { isMet[Int($0)] }
        }
        guard !known.isEmpty else { return nil }
        let whole = WholeItemLoss(network.items, settings)
        whole.meet(counts)
        var sum = 0.0
        prepared = nil
        for first in stride(from: 0, to: known.count, by: settings.training.batch) {
            examples.removeAll()
            for place in known[first..<min(first + settings.training.batch, known.count)] {
                let query = queries[place].newest(settings.readLength)
                examples.append(history: query.history, events: query.events, item: items[place])
            }
            let vectors = network.forward(
                examples.tokens,
                examples.selected,
                hidden: examples.hidden
            )
            sum += whole.value(vectors, examples.items) * Double(examples.items.count)
        }
        return sum / Double(known.count)
    }

    /// Valid as long as no step follows: it has the same weights.
    func model() -> SessionModel {
        if !settings.isTransformers4Rec { fillUnknown() }
        let past = past.map { past in
            var past = past
            past.steps = walk.steps
            return (counts, past)
        }
        return SessionModel(
            settings,
            columns,
            network,
            isMet: zip(isMet, isThere).map { $0 && $1 },
            past: settings.windows == nil ? nil : past
        )
    }

    /// Items that training did not meet are taken for the mean of those that it met.
    private func fillUnknown() {
        for (place, feature) in columns.categories.enumerated() where !feature.isEverMissing {
            let first = Code.first(hashBuckets: feature.column.hashBuckets ?? 0)
            network.fillMissing(ofCategory: place, first: Int(first))
        }
        let isMet = isMet
        let first = Int(Code.first(hashBuckets: 0))
        network.items.table.fill(
            row: Int(Code.unknown),
            withMeanOf: isMet.indices.filter { isMet[$0] }.map { $0 + first }
        )
    }
}
