// SPDX-License-Identifier: Apache-2.0
import CacheWriter
import Predictor
import Tables

/// A pipeline file, read and checked: one feed end to end.
///
/// Stored as JSON with each run, so that a run goes on as it was planned when the file changes.
struct Pipeline: Codable, Equatable, Sendable {
    var feed: String
    var dataset: DatasetSettings
    /// With a sweep: of its first arm.
    var model: Model
    var sweep: Sweep?
    /// Orders what the model found once more; nil: its own order stays.
    var rank: Rank?
    var check: Check
    var predict: Predict
    var publish: Publish
    /// Who is shown the run while it goes on.
    var track: Track?
    /// Who is told of its end.
    var notify: [Hook]?
    /// When `larder schedules set` has it run: a cron expression and perhaps a time zone.
    var schedule: String?

    enum Model: Codable, Equatable, Sendable {
        case popularity
        case prod2vec(Prod2VecSettings)
        case als(ALSSettings)
        case itemKNN(ItemKNNSettings)
        case twoTower(TwoTowerSettings)
        case sessionTransformer(SessionTransformerSettings)
        /// Made elsewhere; `score`: the column of the source that they are ordered by.
        case lists(score: String?)
        /// Of `rank:` only: it orders, and does not find.
        case ratingMLP(RatingMLPSettings)

        static let kinds = [
            Popularity.kind, ItemKNN.kind, Prod2Vec.kind, ALS.kind, TwoTower.kind,
            SessionTransformer.kind, ImportedLists.kind,
        ]

        var kind: String {
            switch self {
            case .popularity: Popularity.kind
            case .prod2vec: Prod2Vec.kind
            case .als: ALS.kind
            case .itemKNN: ItemKNN.kind
            case .twoTower: TwoTower.kind
            case .sessionTransformer: SessionTransformer.kind
            case .lists: ImportedLists.kind
            case .ratingMLP: RatingMLP.kind
            }
        }

        /// There is nothing to learn, and no event to measure by.
        var isImported: Bool { kind == ImportedLists.kind }
    }

    /// Whose ids the lists are found by in the dataset.
    ///
    /// Those of imported lists stand where events have their users, whatever they are.
    var owners: Audience { model.isImported ? .users : predict.owners }

    /// The settings that an arm of the sweep has, from 1; without a sweep there is one model only.
    func model(ofArm arm: Int?) -> Model? {
        guard let sweep else { return model }
        guard let arm, sweep.arms.indices.contains(arm - 1) else { return nil }
        return sweep.arms[arm - 1].model
    }

    /// As if the file had named what an arm of its sweep has, and no sweep.
    func choosing(arm: Int?) -> Pipeline {
        var pipeline = self
        pipeline.model = model(ofArm: arm) ?? model
        pipeline.sweep = nil
        return pipeline
    }

    struct Rank: Codable, Equatable, Sendable {
        var model: Model
        /// The best of the model that are ordered, at least as many as a list is long.
        var candidates: Int
    }

    /// What is measured of the model, and what must be true of it.
    struct Check: Codable, Equatable, Sendable {
        var baselines: [Baseline]
        /// As `Slices` takes them.
        var slices: [String]
        var gates: [Gate]
        /// A file of lists' ids and what they must or must not hold.
        var cases: TableSource?

        /// Lengths that gates ask for.
        var ks: [Int] { gates.filter { !$0.isOfLists }.compactMap(\.k) }
    }

    struct Predict: Codable, Equatable, Sendable {
        var audience: Audience
        /// Whether lists are of users, for items: as lists for the users of the dataset with users and items in
        /// each other's place (`Dataset.transposed`).
        var ofUsers: Bool?
        /// Sessions that have an event in so many last seconds of the data; nil: all.
        var recent: Int?
        var rules: ListRules
        /// Items that a list has beyond k, for when some of it are hidden.
        var spare: Int?
        /// Lists made by one job.
        var shard: Int

        var isOfUsers: Bool { ofUsers == true }

        /// Whose ids the lists are found by.
        var owners: Audience { isOfUsers ? .items : audience.owners }

        /// As readers find it in a release's description.
        var listsFor: String { isOfUsers ? Lookup.itemsOfUsers : audience.rawValue }

        /// What lists are made by; `rules` are what they are measured by.
        var served: ListRules {
            var rules = rules
            rules.k += spare ?? 0
            return rules
        }
    }

    struct Track: Codable, Equatable, Sendable {
        /// The address of an MLflow server.
        var mlflow: String
        var experiment: String
    }

    /// A web-hook.
    struct Hook: Codable, Equatable, Sendable {
        var url: String
        var events: [RunEvent]
        /// The environment variable of the workers that has what messages are signed with.
        var secret: String?
    }

    struct Publish: Codable, Equatable, Sendable {
        var expireSeconds: Int
        /// Releases kept in Redis, the live one included.
        var keep: Int
        /// A `ListFormat` by its name.
        var format: String
        /// Lists a second at most, of all workers together; nil: as fast as Redis takes them.
        var rate: Int?
        /// Whether some lists share a hash; nil: each has its own key.
        var compact: Bool?
        /// Whether lists overwrite those of the release before, where readers have them at once.
        var inPlace: Bool?
        var fallback: Fallback?

        /// How the lists of so many ids are stored.
        func layout(_ ids: Int) -> ListLayout {
            inPlace == true ? .inPlace : compact == true ? .compact(ids) : .keys
        }

        /// For people.
        var formatWords: String {
            format + (inPlace == true ? " in place" : compact == true ? " compact" : "")
        }

        /// Features whose values get lists of their own, for readers whose id has none.
        struct Fallback: Codable, Equatable, Sendable {
            /// Of users or events.
            var segment: String?
            /// Of items.
            var category: String?
        }
    }
}
