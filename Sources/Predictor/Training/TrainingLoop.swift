// SPDX-License-Identifier: Apache-2.0
private import FoundationEssentials
private import Glibc

/// A network that learns batch by batch.
protocol Learner: AnyObject, HasParameters {
    /// Moves the weights; returns the mean loss of the examples.
    ///
    /// Whatever is random depends on the step, not on earlier ones, so that a training can go on.
    /// `next`: the batch of the step after this one, for what can be prepared while a device computes.
    func learn(_ batch: LoadedBatch, next: LoadedBatch?, step: Int, of steps: Int) throws -> Double
    /// Brings to the parameters what was learned elsewhere.
    func settle() throws
    /// Such as NVIDIA H200, where it learns there now; nil: on the processor.
    var device: String? { get }
    /// How good it is on what was kept back, more is better; nil where nothing was.
    func validate(_ progress: (Double) throws -> Void) throws -> Double?
    /// What it keeps between steps beside its parameters.
    var memory: [String: Tensor] { get }
    func remember(from file: TensorFile) throws(PredictorError)
}

extension Learner {
    func settle() throws {}
    var device: String? { nil }
    var memory: [String: Tensor] { [:] }
    func remember(from file: TensorFile) throws(PredictorError) {}
}

/// What a training tells while it runs.
package struct TrainingProgress {
    /// 0 to 1, of all epochs.
    package fileprivate(set) var fraction: Double
    /// From 1.
    package let epoch: Int
    package fileprivate(set) var step: Int
    /// Of trainings over windows: which one this is, from 1, and how many there are.
    package fileprivate(set) var window: (number: Int, count: Int, report: WindowReport)?
    /// What the step learnt from; not to be kept.
    package let batch: LoadedBatch
    package var examples: Int { batch.count }
    /// The mean over the examples of this step.
    package let loss: Double
    /// Where the validation part was looked at after this step.
    package let validation: Double?
    /// The best look so far.
    package let best: Double?
    /// The GPU that learned this step; nil: the processor did.
    package let device: String?
    /// No step follows in this run of the training.
    package let isLast: Bool
    fileprivate let write: (String) throws -> Void

    /// Tells of all windows instead of one.
    mutating func enter(window place: Int, of count: Int, _ walk: SessionWalk) {
        fraction = (Double(place) + fraction) / Double(count)
        step += walk.steps
        window = (place + 1, count, walk.reports[place])
    }

    /// Writes what a training needs to go on from here and end in the same weights.
    package func writeState(to folder: String) throws { try write(folder) }
}

/// What came of a training.
package struct TrainingOutcome: Sendable, Codable, Equatable {
    /// Steps that the weights were moved; with a validation part, as many as were best.
    package var steps: Int
    package var stepsOfEpoch: Int
    package var epochs: Double { Double(steps) / Double(stepsOfEpoch) }
    /// The best look at the validation part.
    package var validation: Double?
    /// Of a training over windows.
    package var windows: [WindowReport]?
    /// The GPU that learned it, or began to; nil: the processor did.
    package var device: String?
}

/// Epochs of steps, with looks at the validation part, an early end, and states to go on from.
struct TrainingLoop {
    /// Where a training stands.
    private struct Position {
        var step = 0
        var bestStep = 0
        var best: Double?
        /// Looks since then.
        var worse = 0
        /// The weights at that step.
        var bestValues: [[Float]] = []
    }

    static let file = "state.safetensors"
    static func memoryName(_ name: String) -> String { "memory." + name }

    private let learner: any Learner
    private let loader: BatchLoader
    private let settings: TrainingSettings
    private let steps: Int

    /// `epochs`: where fewer or more are wanted than the settings say.
    init(
        _ learner: any Learner,
        _ dataset: Dataset,
        _ examples: BatchLoader.Examples,
        _ settings: TrainingSettings,
        epochs: Double? = nil
    ) throws(PredictorError) {
        guard examples.count > 0 else { throw .input("no event to train on") }
        self.learner = learner
        self.settings = settings
        loader = try BatchLoader(
            dataset,
            examples,
            // More than there is: all of it at a time.
            batchSize: min(settings.batch, examples.count),
            seed: settings.seed,
            dropsLast: true
        )
        steps = max(
            1,
            Int((Double(loader.batchCount) * (epochs ?? Double(settings.epochs))).rounded())
        )
    }

    /// Trains from the start, or from the state in a folder; `progress` may throw to stop.
    ///
    /// `share`: of all steps, where it stops, to go on another time. The learner is left with the best weights that the validation part saw, or the last.
    func run(
        from folder: String? = nil,
        until share: Double = 1,
        progress: (TrainingProgress) throws -> Void,
        stop: () throws -> Void = {}
    ) throws -> TrainingOutcome {
        var position = Position()
        if let folder { try restore(&position, from: folder) }
        let ofEpoch = loader.batchCount
        let end = Int((Double(steps) * share).rounded(.up))
        let every = settings.validateEvery > 0 ? settings.validateEvery : ofEpoch
        var device: String?
        struct Enough: Error {}
        do {
            while position.step < end, !isPast(position) {
                let epoch = position.step / ofEpoch
                try loader.forEachBatch(
                    ofEpoch: epoch,
                    from: position.step % ofEpoch
                ) { batch, next in
                    let loss = try learner.learn(
                        batch,
                        next: position.step + 1 < end ? next : nil,
                        step: position.step,
                        of: steps
                    )
                    device = learner.device ?? device
                    position.step += 1
                    guard loss.isFinite else { throw diverged(position.step) }
                    let isEnd = position.step == end
                    var seen: Double?
                    if position.step % every == 0 || isEnd {
                        seen = try look(&position, stop)
                    }
                    let isLast = isEnd || isPast(position)
                    try tell(position, progress, epoch, batch, loss, seen, isLast)
                    if isLast { throw Enough() }
                }
            }
        } catch is Enough {}
        try learner.settle()
        if position.best != nil, position.bestStep != position.step {
            for (values, (_, parameter)) in zip(position.bestValues, learner.parameters) {
                parameter.values.fill(values)
            }
        }
        return TrainingOutcome(
            steps: position.best == nil ? position.step : position.bestStep,
            stepsOfEpoch: ofEpoch,
            validation: position.best,
            device: device
        )
    }

    /// Whether the validation part has not become better for so long that nothing more is expected.
    private func isPast(_ position: Position) -> Bool {
        settings.patience > 0 && position.worse >= settings.patience
    }

    private func look(_ position: inout Position, _ stop: () throws -> Void) throws -> Double? {
        try learner.settle()
        // The loss was of the weights before this step.
        guard learner.parameters.allSatisfy(\.parameter.values.isFinite) else {
            throw diverged(position.step)
        }
        guard let value = try learner.validate({ _ in try stop() }) else { return nil }
        if position.best.map({ value > $0 }) ?? true {
            position.best = value
            position.bestStep = position.step
            position.bestValues = learner.parameters.map(\.parameter.values.values)
            position.worse = 0
        } else {
            position.worse += 1
        }
        return value
    }

    private func tell(
        _ position: Position,
        _ progress: (TrainingProgress) throws -> Void,
        _ epoch: Int,
        _ batch: LoadedBatch,
        _ loss: Double,
        _ validation: Double?,
        _ isLast: Bool
    ) throws {
        try progress(
            TrainingProgress(
                fraction: Double(position.step) / Double(steps),
                epoch: epoch + 1,
                step: position.step,
                batch: batch,
                loss: loss,
                validation: validation,
                best: position.best,
                device: learner.device,
                isLast: isLast
            ) { folder in try write(position, to: folder) }
        )
    }

    private func diverged(_ step: Int) -> PredictorError {
        .input(
            "the training diverged: after step \(step) there are no numbers any more",
            hint: "lower `learning-rate:`, or set `clip:`"
        )
    }

    // MARK: states

    private func write(_ position: Position, to folder: String) throws {
        try learner.settle()
        var tensors = learner.tensors
        for (name, tensor) in learner.memory { tensors[Self.memoryName(name)] = tensor }
        tensors["position"] = .int64(
            [Int64(position.step), Int64(position.bestStep), Int64(position.worse), Int64(steps)],
            shape: [4]
        )
        if let best = position.best {
            tensors["best"] = .int64([Int64(bitPattern: best.bitPattern)], shape: [1])
            for (values, (name, _)) in zip(position.bestValues, learner.parameters) {
                tensors["best." + name] = .float32(values, shape: [values.count])
            }
        }
        try SafeTensors.write(tensors, to: "\(folder)/\(Self.file)")
    }

    private func restore(_ position: inout Position, from folder: String) throws(PredictorError) {
        let file = try TensorFile("\(folder)/\(Self.file)")
        let numbers = try file.int64("position")
        guard numbers.count == 4, numbers[3] == Int64(steps), (0...numbers[3]).contains(numbers[0])
        else { throw .input("the state is of a training of other length") }
        position.step = Int(numbers[0])
        position.bestStep = Int(numbers[1])
        position.worse = Int(numbers[2])
        if file.has("best") {
            position.best = Double(bitPattern: UInt64(bitPattern: try file.int64("best")[0]))
            for (name, _) in learner.parameters {
                position.bestValues.append(try file.float32("best." + name))
            }
        }
        try learner.restore(from: file)
        try learner.remember(from: file)
    }
}
