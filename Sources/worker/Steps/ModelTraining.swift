// SPDX-License-Identifier: Apache-2.0
import Artifacts
import Foundation
import Jobs
import Predictor

/// Trains a model of whichever kind, with checkpoints, progress and metrics.
struct ModelTraining {
    private let input: StepInput
    private let about: TrainStep.About
    private let course: Course

    init(_ input: StepInput, _ about: TrainStep.About, _ course: Course) {
        self.input = input
        self.about = about
        self.course = course
    }

    /// How far a training goes, and from where.
    struct Course: Encodable {
        /// Where others are wanted than the settings say.
        var epochs: Double?
        /// The share of a whole training that it comes to.
        var until = 1.0
        /// Where an earlier round came to, an artifact.
        var state: String?
        /// What an arm is measured by, and the lists it is measured on.
        var select: String?
        var predict: Pipeline.Predict?
    }

    /// What came of a training.
    struct Trained {
        /// Items that the model knows.
        let items: Int
        var outcome: TrainingOutcome?
        /// Where a training that stopped on its way goes on, an artifact.
        var state: String?
        let write: (String) throws(PredictorError) -> Void

        init(_ model: any Recommender, _ outcome: TrainingOutcome? = nil) {
            items = model.items.count
            self.outcome = outcome
            write = { folder throws(PredictorError) in try model.write(to: folder) }
        }

        init(_ trained: (model: RetrievalModel, outcome: TrainingOutcome)) {
            self.init(trained.model, trained.outcome)
        }

        init(_ trained: (model: SessionModel, outcome: TrainingOutcome)) {
            self.init(trained.model, trained.outcome)
        }

        init(_ trained: (model: RatingModel, outcome: TrainingOutcome)) {
            items = trained.model.itemCount
            outcome = trained.outcome
            write = { folder throws(PredictorError) in try trained.model.write(to: folder) }
        }
    }

    /// `base`: a training over windows that this one goes on from.
    func train(
        _ dataset: Dataset,
        _ parts: Set<Part>,
        after base: SessionBase?
    ) throws -> Trained {
        switch about.settings {
        case .popularity: return Trained(Popularity.train(dataset, on: parts))
        case .prod2vec(let settings):
            return try train(dataset, parts, settings)
        case .als(let settings):
            return try train(dataset, parts, settings)
        case .itemKNN(let settings):
            return Trained(
                try ItemKNN.train(dataset, on: parts, settings) { fraction in
                    try input.progress(fraction, "comparing items")
                }
            )
        case .twoTower(let settings):
            return try network("ndcg@10", settings.training) { state, progress in
                Trained(
                    try TwoTower.train(
                        dataset,
                        on: parts,
                        settings,
                        epochs: course.epochs,
                        until: course.until,
                        from: state,
                        gpu: input.services.gpu,
                        progress: progress,
                        stop: input.context.checkStop
                    )
                )
            }
        case .sessionTransformer(let settings):
            return try network("ndcg@10", settings.training) { state, progress in
                Trained(
                    try SessionTransformer.train(
                        dataset,
                        on: parts,
                        settings,
                        epochs: course.epochs,
                        until: course.until,
                        after: base,
                        from: state,
                        gpu: input.services.gpu,
                        progress: progress,
                        stop: input.context.checkStop
                    )
                )
            }
        case .lists(let score): return Trained(try ImportedLists.read(dataset, score: score))
        case .ratingMLP(let settings):
            return try network("auc", settings.training) { state, progress in
                Trained(
                    try RatingMLP.train(
                        dataset,
                        on: parts,
                        settings,
                        epochs: course.epochs,
                        from: state,
                        gpu: input.services.gpu,
                        progress: progress,
                        stop: input.context.checkStop
                    )
                )
            }
        }
    }

    /// Trains a network, with checkpoints, progress and metrics; `validation`: the metric's name.
    private func network(
        _ validation: String,
        _ settings: TrainingSettings,
        _ train: (String?, (TrainingProgress) throws -> Void) throws -> Trained
    ) throws -> Trained {
        var checkpoints = TrainingCheckpoints(input, about)
        let state = try checkpoints.last(or: course.state)
        let length = course.epochs?.rounded(.up) ?? Double(settings.epochs)
        var meter = TrainingMeter(input, epochs: Int(length), validation: validation)
        var trained = try train(state) { progress in
            try checkpoints.keep(pausing: course.until < 1 && progress.isLast) {
                try progress.writeState(to: $0)
            }
            try meter.report(progress)
        }
        // A training that had ended before goes on from there once more, which is nowhere.
        trained.state = checkpoints.paused ?? (course.until < 1 ? course.state : nil)
        checkpoints.remove()
        return trained
    }

    private func train(
        _ dataset: Dataset,
        _ parts: Set<Part>,
        _ settings: ALSSettings
    ) throws -> Trained {
        var checkpoints = TrainingCheckpoints(input, about)
        let state = try checkpoints.last(or: course.state).map { try ALS.State(from: $0) }
        let model = try ALS.train(
            dataset,
            on: parts,
            settings,
            until: course.until,
            from: state
        ) { progress in
            if let state = progress.state {
                try checkpoints.keep(pausing: course.until < 1 && progress.isLast) {
                    try state.write(to: $0)
                }
            }
            try input.progress(
                progress.fraction,
                "iteration \(progress.iteration) of \(settings.iterations)"
            )
        }
        var trained = Trained(model)
        // Of few iterations, two rounds may come to the same.
        trained.state = checkpoints.paused ?? (course.until < 1 ? course.state : nil)
        checkpoints.remove()
        return trained
    }

    private func train(
        _ dataset: Dataset,
        _ parts: Set<Part>,
        _ settings: Prod2VecSettings
    ) throws -> Trained {
        var checkpoints = TrainingCheckpoints(input, about)
        let state = try checkpoints.last(or: course.state).map { try Prod2Vec.State(from: $0) }
        let clock = ContinuousClock()
        let start = clock.now
        var lastPoint = start
        var tokensBefore: Int?
        let model = try Prod2Vec.train(
            dataset,
            on: parts,
            settings,
            until: course.until,
            from: state
        ) {
            progress in
            let now = clock.now
            let before = tokensBefore ?? (state == nil ? 0 : progress.tokens)
            tokensBefore = before
            let speed = Double(progress.tokens - before) / max(1e-9, (now - start) / .seconds(1))
            try checkpoints.keep(pausing: course.until < 1 && progress.isLast) {
                try progress.state().write(to: $0)
            }
            try input.progress(
                progress.fraction,
                "epoch \(min(settings.epochs, Int(progress.fraction * Double(settings.epochs)) + 1))"
                    + " of \(settings.epochs), \(Int(speed / 1000))k items/s"
            )
            guard now - lastPoint > .seconds(1) || progress.fraction == 1 else { return }
            lastPoint = now
            let step = progress.tokens
            input.context.metric("\(input.job.name)/alpha", step: step, value: progress.alpha)
            input.context.metric("\(input.job.name)/tokens-per-second", step: step, value: speed)
        }
        var trained = Trained(model)
        trained.state = checkpoints.paused
        checkpoints.remove()
        return trained
    }
}
