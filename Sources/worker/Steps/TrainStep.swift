// SPDX-License-Identifier: Apache-2.0
import Artifacts
import Foundation
import Jobs
import Predictor

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
    }

    /// What the manifest of a model says beside its files.
    struct About: Codable, Sendable {
        let settings: Pipeline.Model
        let dataset: String
        let parts: [UInt8]
    }

    func run() throws -> JobResult {
        let arguments = try input.arguments(Arguments.self)
        let parts: Set<Part> = arguments.on == .all ? .all : .forTraining
        let (datasetID, dataset) = try input.dataset()
        let model =
            switch input.pipeline.model {
            case .popularity: Popularity.train(dataset, on: parts)
            case .prod2vec(let settings): try train(dataset, parts, settings)
            }
        let artifact = try input.services.artifacts.add(
            kind: "model",
            about: About(
                settings: input.pipeline.model,
                dataset: datasetID,
                parts: parts.map(\.rawValue).sorted()
            )
        ) { folder in try model.write(to: folder) }
        return try JobResult(TrainResult(model: artifact.id, items: model.items.count))
    }

    private func train(
        _ dataset: Dataset,
        _ parts: Set<Part>,
        _ settings: Prod2VecSettings
    ) throws -> RetrievalModel {
        let clock = ContinuousClock()
        let start = clock.now
        var lastPoint = start
        return try Prod2Vec.train(dataset, on: parts, settings) { progress in
            let now = clock.now
            let speed = Double(progress.tokens) / max(1e-9, (now - start) / .seconds(1))
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
    }
}
