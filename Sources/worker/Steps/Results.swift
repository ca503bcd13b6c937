// SPDX-License-Identifier: Apache-2.0
import CacheWriter
import Foundation
import Jobs
import Predictor

// What each kind of job hands to the jobs after it, as JSON in Postgres.

struct PrepareResult: Codable, Sendable {
    let dataset: String
    let summary: DatasetBuilder.Summary
    /// The run that made it, where this one found it made already.
    var sameAsRun: Int?
    /// How many ids are new in a vocabulary that goes on from the feed's last one; nil in a new one.
    var newUsers: Int?
    var newItems: Int?
    /// The feed's last dataset, where its vocabulary could not go on.
    var startsAnew: String?
}

struct TrainResult: Codable, Sendable {
    let model: String
    /// Items that the model has a vector for.
    let items: Int
    /// Of a network: how long it was trained, and how good it was then.
    var outcome: TrainingOutcome?
    /// The model whose training went on.
    var base: String?
    /// Why the feed's live model was not gone on from, where there is one.
    var startsAnew: String?
    var cost: Cost?
    /// The run whose training it is, where this one found it done already.
    var sameAsRun: Int?
    /// As an arm of a sweep.
    var arm: ArmResult?
    /// Of the best arm: the sweep it was chosen from.
    var sweep: SweepReport?
}

/// An arm after a round of training.
struct ArmResult: Codable, Sendable {
    /// From 1, in the order of the sweep.
    var number: Int
    /// What arms are chosen by, on the validation part.
    let estimate: Estimate
    /// Behind the estimate; of the same queries for all arms.
    ///
    /// Nil of a draw without any.
    let replicates: [Float?]
    /// The state that another round goes on from, an artifact; nil of a training that is whole.
    var state: String?
}

/// All arms of a sweep, and which was chosen.
struct SweepReport: Codable, Sendable {
    struct Row: Codable, Sendable {
        let number: Int
        let name: String
        /// `chosen`, `not chosen`, `stopped after round 1`, or `failed` or `cancelled` with the reason.
        var fate: String
        var estimate: Estimate?
        var model: String?
        /// Of all its rounds.
        var cost: Cost?
        /// The run that trained it, where this one found it done already.
        var sameAsRun: Int?
    }

    /// What was chosen by.
    let metric: String
    /// In the order of the sweep.
    let arms: [Row]
    /// The number of the best, and what it has more than the next.
    let chosen: Int
    var next: Int?
    var ahead: Difference?
}

struct CheckResult: Codable, Sendable {
    var report: EvaluationReport
    /// The artifact with the draws behind it.
    let figures: String
    /// Of what orders the lists: how well it tells what was liked.
    var rating: RatingReport?
    /// The release that was measured beside; nil where there is none, or `withoutLive` says why not.
    var live: Int?
    var withoutLive: String?
    /// The run whose evaluation it is, where this one found it done already.
    var sameAsRun: Int?
}

/// How what was served did against what came later.
struct HindsightResult: Codable, Sendable {
    struct Day: Codable, Sendable {
        /// `2026-11-22`, in UTC.
        let day: String
        let release: Int
        /// Lists that were asked for by what came: one a user and day, or one a step from item to item.
        let queries: Int
        let hitRate: Double
        /// What the default list would have hit, on the same.
        let defaultHitRate: Double
    }

    let k: Int
    let days: [Day]
    /// Why releases are not among them, where some are not.
    let notes: [String]
}

struct GateResult: Codable, Sendable {
    let gates: [GateOutcome]
    /// Why those that do not hold were passed over.
    var forced: String?
}

struct PredictResult: Codable, Sendable {
    let release: Int
    let shards: Int
    /// Items that were hidden when it began, and are in none of its lists.
    var hidden: [String]?
}

struct ShardResult: Codable, Sendable {
    /// Lists written.
    let lists: Int
    /// Items in all of them.
    let entries: Int
    let bytes: Int
    /// Those with fewer items than were asked for.
    let short: Int
    /// Ids that lists were wanted for.
    let asked: Int
    /// Ids that the model knows nothing about; items among them got no list.
    let cold: Int
    let samples: [Sample]
    /// Where they are written in place: how they differ from those that stood there.
    let churn: ChurnTally?

    /// A list that `publish` reads back.
    struct Sample: Codable, Sendable {
        let index: Int
        let fingerprint: Fingerprint
    }
}

struct PublishResult: Codable, Sendable {
    let release: Int
    let lists: Int
    let bytes: Int
    let cold: Int
    /// Nil where there was no release before, or nothing of it is left.
    var churn: Churn?
    /// Of the lists themselves; nil where the pipeline asks for nothing.
    var gates: GateResult?
    /// Whether compact lists came to stand in tables, where they take more memory than otherwise.
    var isInTables: Bool?
}

extension JobResult {
    init(_ result: some Encodable, fanOut: FanOut? = nil) throws {
        self.init(try JSON.text(result), fanOut: fanOut)
    }
}

/// The results of a run's finished jobs.
struct RunResults {
    private let results: [String: String]

    init(_ results: [String: String]) { self.results = results }

    func get<T: Decodable>(_ name: String, _ type: T.Type = T.self) throws -> T {
        guard let text = results[name] else {
            throw FatalJobError("the run has no result of its job \"\(name)\"")
        }
        return try JSONDecoder().decode(type, from: Data(text.utf8))
    }

    /// Nil of a job that has not succeeded.
    func find<T: Decodable>(_ name: String, _ type: T.Type = T.self) throws -> T? {
        try results[name].map { try JSONDecoder().decode(type, from: Data($0.utf8)) }
    }
}
