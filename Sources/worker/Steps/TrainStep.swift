// SPDX-License-Identifier: Apache-2.0
import Artifacts
import Foundation
import Jobs
import Predictor
import Tables

/// A dataset in, a model artifact out.
struct TrainStep {
    private let input: StepInput

    init(_ input: StepInput) { self.input = input }

    private struct Arguments: Decodable {
        enum Events: String, Decodable {
            case training
            case all
        }
        let on: Events
        /// Nil in jobs of versions that had one stage.
        let stage: RunPlan.Stage?
        /// Of a sweep, from 1.
        let arm: Int?
        /// Of successive halving, from 0.
        let round: Int?
        /// Where an earlier round came to, an artifact.
        let state: String?
    }

    /// What the manifest of a model says beside its files.
    struct About: Codable, Sendable, Equatable {
        let settings: Pipeline.Model
        let dataset: String
        let parts: [UInt8]
        /// The model whose training goes on.
        var base: String?

        /// Throws where the model's indices would stand for the ids of another vocabulary.
        func check(isOf dataset: String, model: String) throws(FatalJobError) {
            guard self.dataset != dataset else { return }
            throw FatalJobError(
                """
                model \(model.prefix(12)) was trained on dataset \(self.dataset.prefix(12)), not on \
                \(dataset.prefix(12)) of this run
                hint: start another run, which trains its own
                """
            )
        }
    }

    func run() async throws -> JobResult {
        let arguments = try input.arguments(Arguments.self)
        let parts: Set<Part> = arguments.on == .all ? .all : .forTraining
        let (datasetID, dataset) = try input.dataset()
        let settings = try model(arguments)
        let start = try await sessionStart(settings, dataset, parts)
        let about = About(
            settings: settings,
            dataset: datasetID,
            parts: parts.map(\.rawValue).sorted(),
            base: start.base?.model
        )
        let course = try course(arguments)
        struct Decisive: Encodable {
            let about: About
            let course: ModelTraining.Course
        }
        let key = try input.key(of: "train", Decisive(about: about, course: course))
        if let (done, run) = try await input.finished(key, TrainResult.self), try isThere(done) {
            var result = done
            result.sameAsRun = run
            result.startsAnew = start.whyAnew
            result.arm?.number = arguments.arm ?? 0
            return try JobResult(result)
        }
        let cost = CostMeter()
        let trained = try ModelTraining(input, about, course).train(
            dataset,
            parts,
            after: start.base?.state
        )
        let artifact = try input.services.artifacts.add(kind: "model", about: about) { folder in
            try trained.write(folder)
        }
        var result = TrainResult(
            model: artifact.id,
            items: trained.items,
            outcome: trained.outcome,
            base: start.base?.model,
            startsAnew: start.whyAnew
        )
        if let arm = arguments.arm { result.arm = try measure(arm, trained, artifact, dataset) }
        result.cost = cost.cost
        try await input.record(result, under: key)
        return try JobResult(result)
    }

    /// Trains once more what the run trained for its lists, whatever has been done.
    ///
    /// The model goes into `store`; also told is the GPU that trained it.
    func again(
        _ stage: RunPlan.Stage,
        as about: About,
        into store: ArtifactStore
    ) throws -> (model: Artifact, device: String?) {
        let (_, dataset) = try input.dataset()
        let base =
            try about.base.map {
                try SessionBase(from: input.services.artifacts.get(kind: "model", $0).folder)
            } ?? nil
        var course = ModelTraining.Course()
        course.epochs = try refitEpochs(stage)
        let trained = try ModelTraining(input, about, course).train(dataset, .all, after: base)
        let model = try store.add(kind: "model", about: about) { try trained.write($0) }
        return (model, trained.outcome?.device)
    }

    private func model(_ arguments: Arguments) throws -> Pipeline.Model {
        switch arguments.stage ?? .retrieval {
        case .retrieval:
            let name = RunPlan.Stage.retrieval.trainName(input.pipeline)
            let arm =
                try arguments.arm ?? input.results.find(name, TrainResult.self)?.arm?.number
            guard let model = input.pipeline.model(ofArm: arm) else {
                throw FatalJobError("the sweep of this run has no arm \(arm ?? 0)")
            }
            return model
        case .ranking:
            guard let rank = input.pipeline.rank else {
                throw FatalJobError("the pipeline of this run ranks nothing")
            }
            return rank.model
        }
    }

    private func course(_ arguments: Arguments) throws -> ModelTraining.Course {
        var course = ModelTraining.Course()
        if arguments.on == .all { course.epochs = try refitEpochs(arguments.stage ?? .retrieval) }
        if let sweep = input.pipeline.sweep, arguments.arm != nil {
            course.until = sweep.rounds[arguments.round ?? 0].until
            course.state = arguments.state
            course.select = sweep.select
            course.predict = input.pipeline.predict
        }
        return course
    }

    /// As many epochs as were best for the training that `check` measured; nil for what has none.
    private func refitEpochs(_ stage: RunPlan.Stage) throws -> Double? {
        if input.pipeline.model.isImported { return nil }
        let name = stage.trainName(input.pipeline)
        let outcome = try input.results.get(name, TrainResult.self).outcome
        // Windows have each as many as the settings say.
        return outcome?.windows == nil ? outcome?.epochs : nil
    }

    /// Whether what a result names is still in the store.
    private func isThere(_ result: TrainResult) throws -> Bool {
        let artifacts = input.services.artifacts
        guard try artifacts.lookUp(kind: "model", result.model) != nil else { return false }
        guard let state = result.arm?.state else { return true }
        return try artifacts.lookUp(kind: "checkpoint", state) != nil
    }

    /// How good an arm is on the validation part.
    private func measure(
        _ number: Int,
        _ trained: ModelTraining.Trained,
        _ artifact: Artifact,
        _ dataset: Dataset
    ) throws -> ArmResult {
        guard let sweep = input.pipeline.sweep else {
            throw FatalJobError("the pipeline of this run has no sweep")
        }
        let model = try RecommenderFile.read(
            kind: artifact.manifest(About.self).settings.kind,
            from: artifact.folder,
            dataset
        )
        let predict = input.pipeline.predict
        // Validation events are what is to be found.
        let asked = try predict.listed(model, of: dataset, on: .forTraining) { _ in
            try input.context.checkStop()
        }
        let listed = predict.listed(dataset)
        let ranker = try Ranker(
            asked,
            fallback: Popularity.train(listed, on: .forTraining),
            predict.rules,
            on: input.services.gpu
        )
        let outcome = try Evaluation(
            listed,
            for: predict.audience,
            ks: [sweep.k],
            part: .validation
        )
        .run([Evaluation.System(EvaluationReport.model, ranker)]) { fraction in
            try input.progress(fraction, "measuring on the validation part")
        }
        guard let figure = outcome.figures[EvaluationReport.model]?[sweep.select] else {
            throw FatalJobError("\(sweep.select) is not a number: nothing to choose this arm by")
        }
        input.context.metric("\(input.job.name)/\(sweep.select)", value: figure.value)
        return ArmResult(
            number: number,
            estimate: figure.estimate,
            replicates: figure.replicates.map { $0.isFinite ? Float($0) : nil },
            state: trained.state
        )
    }

    /// Where a training over windows begins.
    private struct SessionStart {
        var base: (model: String, state: SessionBase)?
        /// Why not from the feed's live model, where there is one.
        var whyAnew: String?
    }

    /// From the feed's live model, if it is of the same settings and has seen nothing of what is
    /// kept back from these parts.
    private func sessionStart(_ model: Pipeline.Model, _ dataset: Dataset, _ parts: Set<Part>)
        async throws -> SessionStart
    {
        guard case .sessionTransformer(let settings) = model, settings.windows != nil,
            let live = try await input.services.releases.find(feed: input.pipeline.feed)
        else { return SessionStart() }
        guard let artifact = try input.services.artifacts.lookUp(kind: "model", live.model) else {
            return SessionStart(whyAnew: "the live model is gone")
        }
        guard let about = try? artifact.manifest(About.self),
            case .sessionTransformer(let theirs) = about.settings, theirs.learnsAs(settings),
            let state = try SessionBase(from: artifact.folder)
        else { return SessionStart(whyAnew: "the live model is of other settings") }
        guard state.reads(dataset.schema) else {
            return SessionStart(whyAnew: "the live model is of other features")
        }
        guard !state.hasSeen(beyond: parts, of: dataset) else {
            return SessionStart(
                whyAnew: "the live model has learned from what is kept back; a split by time keeps"
                    + " the newest back"
            )
        }
        return SessionStart(base: (live.model, state))
    }
}
