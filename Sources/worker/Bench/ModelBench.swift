// SPDX-License-Identifier: Apache-2.0
import ArgumentParser
import Foundation
import Predictor
import Tables

struct ModelBenchCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "model",
        abstract: "How good a pipeline's model is on the test part, with several seeds.",
        discussion: """
            As a run measures it: the whole catalogue is ranked, by the pipeline's rules. \
            Nothing is written to a database.
            """
    )

    @Argument(help: "The pipeline file.", completion: .file()) var pipeline: String
    @Option(help: "Where the dataset is, or is written to be there the next time.")
    var dataset: String
    @Option(help: "Trainings, with the seeds from 1 on.") var seeds = 1
    @Option(name: .customShort("k"), help: "The length of lists.") var k = 20
    @Flag(help: "Tell how training goes.") var verbose = false
    @Flag(help: "Machine-readable.") var json = false

    func validate() throws {
        guard seeds > 0, k > 0 else { throw ValidationError("--seeds and -k must be 1 or more") }
    }

    private struct Answer: Encodable {
        let model: String
        let seed: Int
        let seconds: Double
        let epochs: Double?
        let report: EvaluationReport
        let windows: [WindowReport]?
        /// Of what orders the lists, where the pipeline has it.
        let rating: RatingReport?
    }

    func run() throws {
        let pipeline = try PipelineParser.parse(file: pipeline)
        let data = try BenchDataset.open(dataset, pipeline)
        for seed in 1...seeds {
            let start = ContinuousClock.now
            let (model, outcome) = try train(pipeline.model, data, seed: seed)
            let (rank, rating) = try ranker(pipeline, data, seed: seed)
            let seconds = (ContinuousClock.now - start) / .seconds(1)
            var rules = pipeline.predict.rules
            rules.k = k
            let asked = try pipeline.predict.listed(model, of: data, on: .beforeTest) { _ in }
            let listed = pipeline.predict.listed(data)
            let popular = Popularity.train(listed, on: .forTraining)
            let report = try Evaluation(listed, for: pipeline.predict.audience, ks: [k])
                .run([
                    Evaluation.System(
                        EvaluationReport.model,
                        try Ranker(asked, fallback: popular, rules, rank: rank)
                    ),
                    Evaluation.System(
                        Baseline.popularity.rawValue,
                        try Ranker(popular, fallback: popular, rules)
                    ),
                ]).report
            let answer = Answer(
                model: model.kind,
                seed: seed,
                seconds: seconds,
                epochs: outcome?.epochs,
                report: report,
                windows: outcome?.windows,
                rating: rating
            )
            if json {
                try Output.json(answer)
            } else {
                show(answer)
            }
            fflush(nil)
        }
    }

    private func show(_ answer: Answer) {
        let metrics = ["recall@\(k)", "ndcg@\(k)", "hit-rate@\(k)"].map { name in
            let value = answer.report.model[name]
            return String(
                format: "%@ %.4f (%.4f to %.4f)",
                name,
                value?.value ?? 0,
                value?.low ?? 0,
                value?.high ?? 0
            )
        }
        print(
            """
            \(answer.model), seed \(answer.seed): \(metrics.joined(separator: ", ")); trained \
            \(Output.seconds(answer.seconds))\
            \(answer.epochs.map { String(format: ", %.1f epochs", $0) } ?? "")
            """
        )
        if let rating = answer.rating { print("  " + rating.line) }
        if let windows = answer.windows { Output.windows(windows) }
    }

    private func ranker(_ pipeline: Pipeline, _ data: Dataset, seed: Int) throws
        -> (RankStage?, RatingReport?)
    {
        guard let rank = pipeline.rank, case .ratingMLP(var settings) = rank.model else {
            return (nil, nil)
        }
        settings.training.seed = seed
        let model = try RatingMLP.train(data, on: .forTraining, settings, progress: tell).model
        return (
            RankStage(model, candidates: rank.candidates),
            try RatingMLP.report(model, on: data, settings)
        )
    }

    private func tell(_ progress: TrainingProgress) {
        guard verbose, progress.validation != nil || progress.step % 50 == 0 else { return }
        let validation = progress.validation.map { String(format: ", validation %.4f", $0) }
        let line = String(
            format: "epoch %d, step %d: loss %.4f%@\n",
            progress.epoch,
            progress.step,
            progress.loss,
            validation ?? ""
        )
        FileHandle.standardError.write(Data(line.utf8))
    }

    private func train(_ model: Pipeline.Model, _ data: Dataset, seed: Int) throws
        -> (any Recommender, TrainingOutcome?)
    {
        switch model {
        case .popularity: return (Popularity.train(data, on: .forTraining), nil)
        case .lists: throw ValidationError("imported lists are not trained")
        case .itemKNN(let settings):
            return (try ItemKNN.train(data, on: .forTraining, settings), nil)
        case .prod2vec(var settings):
            settings.seed = seed
            return (try Prod2Vec.train(data, on: .forTraining, settings), nil)
        case .als(var settings):
            settings.seed = seed
            return (try ALS.train(data, on: .forTraining, settings), nil)
        case .twoTower(var settings):
            settings.training.seed = seed
            let trained = try TwoTower.train(
                data,
                on: .forTraining,
                settings,
                progress: tell
            )
            return (trained.model, trained.outcome)
        case .sessionTransformer(var settings):
            settings.training.seed = seed
            let trained = try SessionTransformer.train(
                data,
                on: .forTraining,
                settings,
                progress: tell
            )
            return (trained.model, trained.outcome)
        case .ratingMLP:
            throw ValidationError("rating-mlp ranks what a model found: it stands under `rank:`")
        }
    }
}
