// SPDX-License-Identifier: Apache-2.0
import Tables

/// What a user, item or event is described by, beside ids, and how that is made of the source.
///
/// The operations are those of NVTabular. Everything is fitted on training events: a value of an
/// item or user counts once for each of its training events.
package struct Feature: Sendable, Codable, Equatable {
    package enum Entity: String, Sendable, Codable, CaseIterable {
        case users
        case items
        case events
    }

    package enum Kind: Sendable, Codable, Equatable {
        case category(Category)
        /// The place among ascending boundaries; a value on a boundary is above it.
        case bucket(column: String, boundaries: [Float])
        case number(column: String, Scaling)
        /// Of events: two numbers, the sine and cosine of the share of the day or week.
        case time(TimePart, zone: String)
        /// Of events: days since the first event of its item.
        case age(Scaling)
        /// Of users or items: over the values of an events' column in their training events.
        case statistic(Statistic, column: String?, Scaling)
        case target(TargetEncoding)
    }

    /// Whether it is one number for each, and no category.
    package var isNumber: Bool {
        switch kind {
        case .number, .statistic, .age, .target: true
        case .category, .bucket, .time: false
        }
    }

    /// Whether a reader can name its values.
    package var hasNames: Bool {
        if case .category(let category) = kind {
            category.hashBuckets == 0 || category.minCount != nil
        } else {
            false
        }
    }

    package enum TimePart: String, Sendable, Codable, CaseIterable {
        case hour
        case weekday
    }

    package enum Statistic: String, Sendable, Codable, CaseIterable {
        case count
        case sum
        case mean
        case std
        case min
        case max
    }

    package struct Category: Sendable, Codable, Equatable {
        package var column: String
        /// Cuts a value into several.
        package var separator: String?
        /// Only the last so many of them.
        package var last: Int?
        /// Values that are rarer among training events are unknown.
        package var minCount: Int?
        /// Unknown values are told apart by a hash; without `minCount` all values are.
        package var hashBuckets: Int
        /// Features that name the same one have the same codes.
        package var vocabulary: String?

        package init(
            column: String,
            separator: String? = nil,
            last: Int? = nil,
            minCount: Int? = nil,
            hashBuckets: Int = 0,
            vocabulary: String? = nil
        ) {
            self.column = column
            self.separator = separator
            self.last = last
            self.minCount = minCount
            self.hashBuckets = hashBuckets
            self.vocabulary = vocabulary
        }
    }

    /// What is done to numbers, in this order.
    package struct Scaling: Sendable, Codable, Equatable {
        package enum Fill: Sendable, Codable, Equatable {
            case mean
            case median
            case value(Float)
        }
        package enum Scale: String, Sendable, Codable, CaseIterable {
            case none
            /// To mean 0 and standard deviation 1.
            case standard
            /// To 0 up to 1.
            case minMax = "min-max"
        }
        /// In place of missing values; mean and median are of the values as they are scaled.
        package var fill: Fill
        /// log(1 + x); values below 0 are then missing.
        package var log: Bool
        package var scale: Scale

        package init(fill: Fill = .mean, log: Bool = false, scale: Scale = .none) {
            self.fill = fill
            self.log = log
            self.scale = scale
        }
    }

    /// Of events: the mean of a number over the training events with the same value of another
    /// feature, drawn towards the mean of all (Micci-Barreca 2001).
    ///
    /// A training event's own fold is left out, so that its own number is not in its feature.
    package struct TargetEncoding: Sendable, Codable, Equatable {
        package var column: String
        /// `user`, `item` or the name of a category feature that is no list.
        package var by: String
        package var folds: Int
        /// So many events of the mean of all are added to each group.
        package var smoothing: Float
        package var seed: Int

        package init(
            column: String,
            by: String,
            folds: Int = 5,
            smoothing: Float = 20,
            seed: Int = 42
        ) {
            self.column = column
            self.by = by
            self.folds = folds
            self.smoothing = smoothing
            self.seed = seed
        }
    }

    package var name: String
    package var entity: Entity
    package var kind: Kind

    package init(_ name: String, of entity: Entity, _ kind: Kind) {
        self.name = name
        self.entity = entity
        self.kind = kind
    }
}

/// A column of a source, and as what it is read.
struct InputColumn: Hashable {
    let name: String
    let isNumber: Bool
}

extension Feature {
    /// What its tensors are called; no two features may share a name.
    package var tensorNames: [String] {
        switch kind {
        case .time: ["\(name)_sin", "\(name)_cos"]
        case .category(let category) where category.separator != nil:
            ["\(name)_values", "\(name)_offsets"]
        default: [name]
        }
    }

    /// Whether it is worked out from what the events of a user have in common.
    var needsUsersOfEvents: Bool {
        switch kind {
        case .statistic, .target: true
        default: false
        }
    }

    /// The columns that it needs of the table of an entity.
    func inputs(of table: Entity) -> [InputColumn] {
        switch kind {
        case .category(let category) where table == entity:
            [InputColumn(name: category.column, isNumber: false)]
        case .bucket(let column, _) where table == entity,
            .number(let column, _) where table == entity:
            [InputColumn(name: column, isNumber: true)]
        case .statistic(_, let column?, _) where table == .events:
            [InputColumn(name: column, isNumber: true)]
        case .target(let target) where table == .events:
            [InputColumn(name: target.column, isNumber: true)]
        default: []
        }
    }
}

extension [Feature] {
    /// The columns that they need of the table of an entity, each once.
    func inputs(of table: Feature.Entity) -> [InputColumn] {
        var seen: Set<InputColumn> = []
        return flatMap { $0.inputs(of: table) }.filter { seen.insert($0).inserted }
    }
}

extension [InputColumn] {
    /// Texts get a vocabulary each.
    func requests(firstVocabulary: Int) -> [ColumnRequest] {
        var next = firstVocabulary
        return map { input in
            if input.isNumber { return ColumnRequest(input.name, .number) }
            defer { next += 1 }
            return ColumnRequest(input.name, .category(vocabulary: next))
        }
    }
}
