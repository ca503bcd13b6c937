// SPDX-License-Identifier: Apache-2.0
package import Tables

/// Where events come from, what is kept of them and how they are divided; part of a pipeline file.
package struct DatasetSettings: Sendable, Codable, Equatable {
    package var source: TableSource
    package var columns: Columns
    package var sessions: Sessions
    package var keep: Keep
    package var weights: Weights?
    package var users: EntityTable?
    package var items: EntityTable?
    package var features: [Feature]
    /// The share of rows that may be bad before the run fails.
    package var badRows: Double
    package var split: Split
    package var vocabulary: VocabularyPolicy

    package init(
        source: TableSource,
        columns: Columns,
        sessions: Sessions = Sessions(),
        keep: Keep = Keep(),
        weights: Weights? = nil,
        users: EntityTable? = nil,
        items: EntityTable? = nil,
        features: [Feature] = [],
        badRows: Double = 0.01,
        split: Split = .leaveLastOne(validation: false),
        vocabulary: VocabularyPolicy = .keep
    ) {
        self.source = source
        self.columns = columns
        self.sessions = sessions
        self.keep = keep
        self.weights = weights
        self.users = users
        self.items = items
        self.features = features
        self.badRows = badRows
        self.split = split
        self.vocabulary = vocabulary
    }

    package enum VocabularyPolicy: String, Sendable, Codable, CaseIterable {
        /// Ids keep the indices that they had in the feed's last dataset; new ones come behind.
        case keep
        /// Only the ids of this dataset.
        case fresh
    }

    package struct Columns: Sendable, Codable, Equatable {
        package var user: String
        package var item: String
        /// Without it, rows are in order as they stand in the source.
        package var time: String?

        package init(user: String, item: String, time: String?) {
            self.user = user
            self.item = item
            self.time = time
        }
    }

    /// What makes a sequence.
    package struct Sessions: Sendable, Codable, Equatable {
        package enum Boundary: Sendable, Codable, Equatable {
            /// All events of a user.
            case users
            /// Events of a user that have the same value here; "1" of two users are two sessions.
            case column(String)
            /// Events of a user with no longer pause between them, in seconds.
            case gap(Int)
        }

        package var by: Boundary
        /// Sequences of fewer events are left out.
        package var minEvents: Int
        /// Only the last so many events of each are kept.
        package var last: Int?

        package init(by: Boundary = .users, minEvents: Int = 1, last: Int? = nil) {
            self.by = by
            self.minEvents = minEvents
            self.last = last
        }
    }
}

/// Which events are kept, in the order in which the conditions are applied.
package struct Keep: Sendable, Codable, Equatable {
    package enum Duplicates: String, Sendable, Codable, CaseIterable {
        case all
        /// Of several events of a user with the same item, the first or last by time.
        case first
        case last
    }

    package var positive: Condition?
    /// Seconds since 1970, the first included, the last not.
    package var from: Int?
    package var to: Int?
    /// Only events of the last so many seconds of the data.
    package var last: Int?
    /// The share of users that is kept, by a hash of the id and the seed.
    package var sample: Double
    package var seed: Int
    package var duplicates: Duplicates
    package var minUserEvents: Int
    package var minItemEvents: Int

    package init(
        positive: Condition? = nil,
        from: Int? = nil,
        to: Int? = nil,
        last: Int? = nil,
        sample: Double = 1,
        seed: Int = 1,
        duplicates: Duplicates = .all,
        minUserEvents: Int = 1,
        minItemEvents: Int = 1
    ) {
        self.positive = positive
        self.from = from
        self.to = to
        self.last = last
        self.sample = sample
        self.seed = seed
        self.duplicates = duplicates
        self.minUserEvents = minUserEvents
        self.minItemEvents = minItemEvents
    }
}

/// What an event of each type is worth, and how that fades.
package struct Weights: Sendable, Codable, Equatable {
    package var column: String
    /// Events of other types are dropped.
    package var values: [String: Float]
    /// Seconds after which an event counts half; the newest training event counts whole.
    package var halfLife: Int?

    package init(column: String, values: [String: Float], halfLife: Int?) {
        self.column = column
        self.values = values
        self.halfLife = halfLife
    }
}

/// Which events are for training and which are kept back to test on.
package enum Split: Sendable, Codable, Equatable {
    /// The last event of every user who has at least two; the one before for validation, if that is
    /// wanted, of those who have three.
    case leaveLastOne(validation: Bool)
    /// Events of the last `test` seconds of the data, and of the `validation` seconds before them.
    case time(validation: Int, test: Int)
    /// Whole sequences, shuffled with a seed: the protocol of the Metaflow tutorial (70/20/10).
    case sequences(validation: Double, test: Double, seed: Int)
    /// All events of a share of the users.
    case users(validation: Double, test: Double, seed: Int)
    /// As a column says: these values are for validation and test, all others for training.
    case column(String, validation: String, test: String)

    /// Whether anything is kept back to choose by.
    package var hasValidation: Bool {
        switch self {
        case .leaveLastOne(let validation): validation
        case .time(let validation, _): validation > 0
        case .sequences(let validation, _, _), .users(let validation, _, _): validation > 0
        case .column: true
        }
    }
}

/// The part of a split that an event belongs to; the raw value is what dataset files hold.
package enum Part: UInt8, Sendable, CaseIterable {
    case train = 0
    case validation = 1
    case test = 2
}
