// SPDX-License-Identifier: Apache-2.0
// The network of NVTabular's getting-started example: embeddings of movie, user and genres, dense
// layers, one sigmoid. It tells what someone would like, and ranks what a retrieval model found.
private import Tables

package enum RatingMLP {
    package static let kind = "rating-mlp"

    /// Trains on the events of the given parts, from the start or from the state in a folder.
    ///
    /// With validation events, those of later parts than were trained on, it ends with the weights
    /// that tell what is liked best there, by the area under the ROC curve. `epochs`: train so long
    /// instead, as a refit does. `gpu`, `progress` and `stop` are as with two-tower.
    package static func train(
        _ dataset: Dataset,
        on parts: Set<Part>,
        _ settings: RatingMLPSettings,
        epochs: Double? = nil,
        from folder: String? = nil,
        gpu: GPU? = nil,
        progress: (TrainingProgress) throws -> Void = { _ in },
        stop: () throws -> Void = {}
    ) throws -> (model: RatingModel, outcome: TrainingOutcome) {
        let network = try RatingMLPNetwork(
            dataset,
            on: parts,
            settings,
            validates: epochs == nil && !parts.contains(.validation),
            on: gpu
        )
        let outcome = try TrainingLoop(
            network,
            dataset,
            .events(dataset.events(in: parts)),
            settings.training,
            epochs: epochs
        )
        .run(from: folder, progress: progress, stop: stop)
        return (try network.model(), outcome)
    }

    /// Measures on the test part.
    package static func report(
        _ model: RatingModel,
        on dataset: Dataset,
        _ settings: RatingMLPSettings
    ) throws -> RatingReport {
        let examples = try RatingExamples(dataset, on: .forTraining, settings)
        return try RatingValidation(
            dataset,
            examples,
            part: .test,
            seed: settings.training.seed
        ).report(of: model) { _ in }
    }
}
