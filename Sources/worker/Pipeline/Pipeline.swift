// SPDX-License-Identifier: Apache-2.0
import Predictor

/// A pipeline file, read and checked: one feed end to end.
///
/// Stored as JSON with each run, so that a run goes on as it was planned when the file changes.
struct Pipeline: Codable, Equatable, Sendable {
    var feed: String
    var dataset: DatasetSettings
    var model: Model
    var predict: Predict
    var publish: Publish

    enum Model: Codable, Equatable, Sendable {
        case popularity
        case prod2vec(Prod2VecSettings)

        static let kinds = [Popularity.kind, Prod2Vec.kind]

        var kind: String {
            switch self {
            case .popularity: Popularity.kind
            case .prod2vec: Prod2Vec.kind
            }
        }
    }

    struct Predict: Codable, Equatable, Sendable {
        var audience: Audience
        var rules: ListRules
        /// Lists made by one job.
        var shard: Int
    }

    struct Publish: Codable, Equatable, Sendable {
        var expireSeconds: Int
        /// Releases kept in Redis, the live one included.
        var keep: Int
        /// A `ListFormat` by its name.
        var format: String
    }
}
