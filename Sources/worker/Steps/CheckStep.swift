// SPDX-License-Identifier: Apache-2.0
import Artifacts
import Jobs
import Predictor
import Tables

/// Measures the trained model on the events kept back, beside baselines and what is live.
struct CheckStep {
    private let input: StepInput

    init(_ input: StepInput) { self.input = input }

    /// All that decides what is found.
    private struct Decisive: Codable, Sendable {
        let dataset: String
        let model: String
        var rank: String?
        let candidates: Int?
        let audience: Audience
        let ofUsers: Bool?
        let rules: ListRules
        let ks: [Int]
        let sliceK: Int
        let baselines: [Baseline]
        let slices: [String]
        var live: String?
        var liveCandidates: Int?
    }

    func run() async throws -> JobResult {
        let (original, trained) = try input.model(
            from: RunPlan.Stage.retrieval.trainName(input.pipeline)
        )
        let rank = try input.rankStage(from: RunPlan.Stage.ranking.trainName(input.pipeline))
        let live = try await LiveModel(input, original)
        let decisive = try decisive(live)
        let key = try input.key(of: "check", decisive)
        if let (done, run) = try await input.finished(key, CheckResult.self),
            try input.services.artifacts.lookUp(kind: "report", done.figures) != nil
        {
            var result = done
            result.sameAsRun = run
            result.live = live.release
            result.withoutLive = live.why
            report(result)
            return try JobResult(result)
        }
        let predict = input.pipeline.predict
        func progress(_ share: Double) throws {
            try input.progress(0.1 * share, "working out the vectors of users")
        }
        let model = try predict.listed(trained, of: original, on: .beforeTest, progress: progress)
        let liveModel = try live.model.map {
            try predict.listed($0, of: original, on: .beforeTest, progress: progress)
        }
        let dataset = predict.listed(original)
        let outcome = try measure(dataset, model, rank, liveModel, live.rank, decisive)
        let artifact = try input.services.artifacts.add(kind: "report", about: decisive) { folder in
            try ReportFile.write(outcome.figures, to: folder)
        }
        let result = CheckResult(
            report: outcome.report,
            figures: artifact.id,
            rating: try rating(rank, original),
            live: live.release,
            withoutLive: live.why
        )
        report(result)
        try await input.record(result, under: key)
        return try JobResult(result)
    }

    private func report(_ result: CheckResult) {
        for (name, estimate) in result.report.model {
            input.context.metric("test/\(name)", value: estimate.value)
        }
        guard let rating = result.rating else { return }
        for (name, value) in [
            ("auc", rating.auc), ("log-loss", rating.logLoss), ("calibration", rating.calibration),
        ] { input.context.metric("test/\(name)", value: value) }
    }

    private func decisive(_ live: LiveModel) throws -> Decisive {
        let pipeline = input.pipeline
        let prepared = try input.results.get("prepare", PrepareResult.self)
        // A list cannot be longer than the catalogue, whatever the pipeline asks for.
        let longest = min(
            pipeline.predict.rules.k,
            pipeline.predict.isOfUsers
                ? prepared.summary.users : prepared.summary.items
        )
        let asked = pipeline.check.ks.filter { $0 <= longest }
        func model(_ stage: RunPlan.Stage) throws -> String {
            try input.results.get(stage.trainName(pipeline), TrainResult.self).model
        }
        return Decisive(
            dataset: prepared.dataset,
            model: try model(.retrieval),
            rank: pipeline.rank == nil ? nil : try model(.ranking),
            candidates: pipeline.rank?.candidates,
            audience: pipeline.predict.audience,
            ofUsers: pipeline.predict.ofUsers,
            rules: pipeline.predict.rules,
            ks: Set([min(10, longest), longest] + asked).sorted(),
            sliceK: min(10, longest),
            baselines: pipeline.check.baselines,
            slices: pipeline.check.slices,
            live: live.id,
            liveCandidates: live.candidates
        )
    }

    private func measure(
        _ dataset: Dataset,
        _ model: any Recommender,
        _ rank: RankStage?,
        _ liveModel: (any Recommender)?,
        _ liveRank: RankStage?,
        _ settings: Decisive
    ) throws -> Evaluation.Outcome {
        let popular = Popularity.train(dataset, on: .forTraining)
        let gpu = input.services.gpu
        var systems = [
            Evaluation.System(
                EvaluationReport.model,
                try Ranker(model, fallback: popular, settings.rules, rank: rank, on: gpu),
                rows: model.rows
            )
        ]
        var neighbours: (any Recommender)?
        for (place, baseline) in settings.baselines.enumerated() {
            // Two baselines ask the same model, each in its way.
            let isOfNeighbours = baseline == .itemKNN || baseline == .lastItem
            let known = isOfNeighbours ? neighbours : nil
            let trained =
                try known
                ?? baseline.train(dataset, on: .forTraining) { fraction in
                    try input.progress(
                        0.3 * (Double(place) + fraction) / Double(settings.baselines.count),
                        "training \(baseline.rawValue) to compare with"
                    )
                }
            if isOfNeighbours { neighbours = trained }
            systems.append(
                Evaluation.System(
                    baseline.rawValue,
                    try Ranker(trained, fallback: popular, baseline.rules(settings.rules))
                )
            )
        }
        if let liveModel {
            systems.append(
                Evaluation.System(
                    Gate.live,
                    try Ranker(
                        liveModel,
                        fallback: popular,
                        settings.rules,
                        rank: liveRank,
                        on: gpu
                    )
                )
            )
        }
        let evaluation = try Evaluation(
            dataset,
            for: settings.audience,
            ks: settings.ks,
            slices: settings.slices,
            sliceK: settings.sliceK
        )
        var outcome = try evaluation.run(systems) { fraction in
            try input.progress(0.3 + 0.6 * fraction, "ranking the whole catalogue")
        }
        outcome.add(
            try evaluation.behaviour(of: systems[0], model, k: settings.sliceK) { fraction in
                try input.progress(0.9 + 0.1 * fraction, "asking a little otherwise")
            }
        )
        return outcome
    }

    private func rating(_ rank: RankStage?, _ dataset: Dataset) throws -> RatingReport? {
        guard let rank, case .ratingMLP(let settings) = input.pipeline.rank?.model else {
            return nil
        }
        return try RatingMLP.report(rank.model, on: dataset, settings)
    }
}
