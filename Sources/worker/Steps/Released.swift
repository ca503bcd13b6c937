// SPDX-License-Identifier: Apache-2.0
import Artifacts
import Foundation
import Jobs
import Predictor
import Tables

/// What a release's lists were made with.
struct Released {
    let release: Releases.Release
    /// As its run had it; what was chosen of a sweep is in the model.
    let pipeline: Pipeline
    let results: RunResults
    let dataset: Dataset
    let about: TrainStep.About
    let model: any Recommender
    let rank: RankStage?

    /// As its lists were made.
    func maker() throws -> ListMaker { try maker(model, rank) }

    /// As its lists would be made with another model.
    func maker(_ model: any Recommender, _ rank: RankStage?) throws -> ListMaker {
        try ListMaker(pipeline, dataset, model, rank, hidden: hidden)
    }

    /// What was hidden when they were made.
    var hidden: [String] {
        get throws { try results.find("predict", PredictResult.self)?.hidden ?? [] }
    }
}

/// A model and what it was trained on.
struct TrainedModel {
    let about: TrainStep.About
    let dataset: Dataset
    let model: any Recommender
}

extension Services {
    func model(_ id: String) throws -> TrainedModel {
        let artifact = try artifacts.get(kind: "model", id)
        let about = try artifact.manifest(TrainStep.About.self)
        let dataset = try Dataset(from: artifacts.get(kind: "dataset", about.dataset).folder)
        return TrainedModel(
            about: about,
            dataset: dataset,
            model: try RecommenderFile.read(
                kind: about.settings.kind,
                from: artifact.folder,
                dataset
            )
        )
    }

    /// What orders lists, by the model of this id.
    func rankStage(_ id: String, _ rank: Pipeline.Rank) throws -> RankStage {
        RankStage(
            try RatingModel(from: artifacts.get(kind: "model", id).folder),
            candidates: rank.candidates
        )
    }

    /// The ids that lists of a release may be found by; fails where its dataset is gone.
    func ids(of release: Releases.Release) throws -> Vocabulary {
        let folder = try artifacts.get(kind: "dataset", release.dataset).folder
        return release.listsFor == Audience.users.rawValue
            ? try Dataset.readUsers(from: folder) : try Dataset.readItems(from: folder)
    }

    /// The live release of a feed, or another by its number.
    func released(_ feed: String, _ number: Int? = nil) async throws -> Released {
        guard let release = try await releases.find(feed: feed, number: number) else {
            throw SettingsError(
                number.map { "feed \"\(feed)\" has no release \($0)" }
                    ?? "feed \"\(feed)\" has no live release\nhint: `larder releases` lists all feeds"
            )
        }
        let pipeline = try await pipeline(of: release.run)
        let results = RunResults(try await runs.results(of: release.run))
        let trained = try model(release.model)
        let rank = try pipeline.rank.map { rank in
            let id = try results.get(RunPlan.Stage.ranking.refitName, TrainResult.self).model
            return try rankStage(id, rank)
        }
        return Released(
            release: release,
            pipeline: pipeline,
            results: results,
            dataset: trained.dataset,
            about: trained.about,
            model: trained.model,
            rank: rank
        )
    }
}
