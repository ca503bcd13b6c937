// SPDX-License-Identifier: Apache-2.0
import Artifacts
import Foundation
import Jobs
import Predictor

/// What is live, as far as a new model can be measured beside it.
///
/// It is the model that was measured before the live release was made: trained without what its own
/// run kept back, as the new one is. The one that made the lists has learned from all events there
/// were, and may know the answers.
struct LiveModel {
    /// The same event twice in a source is no leak.
    private static let mostLeaked = 0.01

    /// Nil before a feed's first release.
    private(set) var release: Int?
    /// The models that it is of; nil where there is none to measure.
    private(set) var id: String?
    private(set) var model: (any Recommender)?
    private(set) var rank: RankStage?
    /// That its ranking orders.
    private(set) var candidates: Int?
    /// Why it cannot be measured, where there is one.
    private(set) var why: String?

    init(_ input: StepInput, _ dataset: Dataset) async throws {
        guard let release = try await input.services.releases.find(feed: input.pipeline.feed) else {
            return
        }
        self.release = release.number
        do {
            try await load(release, input, dataset)
        } catch  where error.isOfWhatIsGone {
            let words = "\(error)".split(separator: "\n").first.map(String.init) ?? ""
            why = "release \(release.number), which is live, cannot be measured: \(words)"
        }
    }

    private mutating func load(
        _ release: Releases.Release,
        _ input: StepInput,
        _ dataset: Dataset
    ) async throws {
        let services = input.services
        let pipeline = try await services.pipeline(of: release.run)
        guard !pipeline.model.isImported else {
            why =
                "release \(release.number), which is live, is of imported lists: there is no model to ask"
            return
        }
        let results = RunResults(try await services.runs.results(of: release.run))
        func trained(_ stage: RunPlan.Stage) throws -> String {
            try results.get(stage.trainName(pipeline), TrainResult.self).model
        }
        let ids =
            pipeline.rank == nil
            ? [try trained(.retrieval)] : [try trained(.retrieval), try trained(.ranking)]
        let earlier = try services.model(ids[0])
        let share = dataset.shareOfTest(inTrainingOf: earlier.dataset)
        guard share <= Self.mostLeaked else {
            why = String(
                format: """
                    release %d, which is live, is not compared with: %.0f %% of what is kept back \
                    now was in its training part; a split by time keeps the newest back
                    """,
                release.number,
                100 * share
            )
            return
        }
        let isOfUsers = input.pipeline.predict.isOfUsers
        guard !isOfUsers || pipeline.rank == nil else {
            why =
                "release \(release.number), which is live, orders lists of items: its model finds no users so"
            return
        }
        let rank = try pipeline.rank.map { try services.rankStage(ids[1], $0) }
        var model: (any Recommender)? = earlier.model
        if earlier.about.dataset == (try input.dataset().id) {
            self.rank = rank
        } else {
            // Nil of another vocabulary.
            model = EarlierModel(earlier.model, rank: rank, of: earlier.dataset, on: dataset)
        }
        guard let model else {
            why = "release \(release.number), which is live, is of another vocabulary"
            return
        }
        guard !isOfUsers || model.comparesUsers else {
            why =
                "release \(release.number), which is live, is of the model \(model.kind), which finds no users"
            return
        }
        self.model = model
        candidates = pipeline.rank?.candidates
        id = ids.joined(separator: " ")
    }
}

extension Error {
    /// Whether something is not there any more or of another version: no later try will find it.
    fileprivate var isOfWhatIsGone: Bool {
        self is ArtifactError || self is FatalJobError || self is DecodingError
            || self is PredictorError
    }
}
