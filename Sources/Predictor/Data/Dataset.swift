// SPDX-License-Identifier: Apache-2.0
package import Tables

/// Events in the order that models read them: by user, each user's sequences by their first
/// event, each sequence by time.
///
/// The columns are mapped from the files that `DatasetBuilder` writes; only the ids are in memory.
package struct Dataset: Sendable {
    package let users: Vocabulary
    package let items: Vocabulary
    /// The item of each event, as an index into `items`.
    package let eventItems: Column<Int32>
    /// Seconds since 1970; zeros when the source has no time.
    package let eventTimes: Column<Int64>
    /// `Part.rawValue` of each event.
    package let eventParts: Column<UInt8>
    /// What each event is worth; nil when all are worth the same.
    package let eventWeights: Column<Float>?
    /// sequences + 1 entries; sequence s is the events from `[s]` up to `[s + 1]`.
    package let sequenceOffsets: Column<Int64>
    /// users + 1 entries; user u has the sequences from `[u]` up to `[u + 1]`.
    package let userSequences: Column<Int64>
    /// One per item, empty where unknown; nil when no item table was given.
    package let titles: StringTable?
    /// What columns there are beside those above.
    package let schema: Schema
    /// Where the columns of the schema are; nil where it has none.
    private let files: Files?

    private struct Files {
        let events: TensorFile
        let users: TensorFile
        let items: TensorFile
        /// Nil when there are no categories.
        let categories: TensorFile?
    }

    package var sequenceCount: Int { sequenceOffsets.count - 1 }

    package func events(ofSequence s: Int) -> Range<Int> {
        Int(sequenceOffsets[s])..<Int(sequenceOffsets[s + 1])
    }

    /// Those that lists for this audience are found by.
    package func ids(of audience: Audience) -> Vocabulary {
        audience.owners == .items ? items : users
    }

    package func sequences(ofUser u: Int) -> Range<Int> {
        Int(userSequences[u])..<Int(userSequences[u + 1])
    }

    package func events(ofUser u: Int) -> Range<Int> {
        Int(
            sequenceOffsets[Int(userSequences[u])]
        )..<Int(sequenceOffsets[Int(userSequences[u + 1])])
    }

    /// Those of the given parts, oldest first.
    func events(ofSequence s: Int, in parts: Set<Part>) -> [Int] {
        let wanted = PartMask(parts)
        return events(ofSequence: s).filter { wanted.contains(eventParts[$0]) }
    }

    /// All events of the given parts.
    func events(in parts: Set<Part>) -> [Int32] {
        let wanted = PartMask(parts)
        return eventParts.indices.filter { wanted.contains(eventParts[$0]) }.map { Int32($0) }
    }

    /// Sequences with so many events of the given parts.
    func sequences(in parts: Set<Part>, ofAtLeast count: Int) -> [Int32] {
        let wanted = PartMask(parts)
        return (0..<sequenceCount).filter { sequence in
            let events = events(ofSequence: sequence)
            return events.count >= count
                && events.count { wanted.contains(eventParts[$0]) } >= count
        }
        .map { Int32($0) }
    }

    package func title(_ item: Int) -> String? {
        guard let title = titles?[item], !title.isEmpty else { return nil }
        return title
    }

    /// Whether a user has an event in the given parts, of each.
    func hasEvents(in parts: Set<Part>) -> [Bool] {
        let wanted = parts.map(\.rawValue)
        return (0..<users.count).map { user in
            events(ofUser: user).contains { wanted.contains(eventParts[$0]) }
        }
    }

    /// How many events of each item are in the given parts.
    package func itemCounts(in parts: Set<Part>) -> [Int] {
        var counts = [Int](repeating: 0, count: items.count)
        let wanted = parts.map(\.rawValue)
        for event in eventItems.indices where wanted.contains(eventParts[event]) {
            counts[Int(eventItems[event])] += 1
        }
        return counts
    }

    /// What the events of each item in the given parts are worth; how many they are, if all are
    /// worth the same.
    package func itemWeights(in parts: Set<Part>) -> [Double] {
        var sums = [Double](repeating: 0, count: items.count)
        let wanted = parts.map(\.rawValue)
        for event in eventItems.indices where wanted.contains(eventParts[event]) {
            sums[Int(eventItems[event])] += eventWeights.map { Double($0[event]) } ?? 1
        }
        return sums
    }
}

extension Dataset {
    /// Users and items in each other's place: each item's events by time, as one sequence; without titles
    /// and features.
    ///
    /// Lists for its users are lists of the users that fit an item.
    package func transposed() -> Dataset {
        let owners = (0..<users.count).flatMap { user in
            [Int32](repeating: Int32(user), count: events(ofUser: user).count)
        }
        var starts = [Int64](repeating: 0, count: items.count + 1)
        for item in eventItems { starts[Int(item) + 1] += 1 }
        for item in 1..<starts.count { starts[item] += starts[item - 1] }
        var next = starts
        var order = [Int32](repeating: 0, count: eventItems.count)
        for event in eventItems.indices {
            let item = Int(eventItems[event])
            order[Int(next[item])] = Int32(event)
            next[item] += 1
        }
        for item in 0..<items.count {
            order[Int(starts[item])..<Int(starts[item + 1])]
                .sort { (eventTimes[Int($0)], $0) < (eventTimes[Int($1)], $1) }
        }
        return Dataset(
            users: items,
            items: users,
            eventItems: Column(order.map { owners[Int($0)] }),
            eventTimes: Column(order.map { eventTimes[Int($0)] }),
            eventParts: Column(order.map { eventParts[Int($0)] }),
            eventWeights: eventWeights.map { weights in Column(order.map { weights[Int($0)] }) },
            sequenceOffsets: Column(starts),
            userSequences: Column((0...Int64(items.count)).map { $0 }),
            titles: nil,
            schema: Schema([]),
            files: nil
        )
    }
}

/// A set of parts, fast to ask.
private struct PartMask {
    private let bits: UInt8

    init(_ parts: Set<Part>) { bits = parts.reduce(0) { $0 | 1 << $1.rawValue } }

    func contains(_ part: UInt8) -> Bool { bits >> part & 1 != 0 }
}

extension Set<Part> {
    /// What a model may learn from while it is measured.
    package static var forTraining: Set<Part> { [.train] }
    /// What a list that is measured may be made from.
    package static var beforeTest: Set<Part> { [.train, .validation] }
    /// What the model that is served learns from: everything.
    package static var all: Set<Part> { [.train, .validation, .test] }
}

// MARK: files

extension Dataset {
    enum File {
        static let events = "events.safetensors"
        static let users = "users.safetensors"
        static let items = "items.safetensors"
        static let categories = "categories.safetensors"
        static let schema = "schema.json"
    }

    package init(from folder: String) throws(PredictorError) {
        schema = try Schema(from: "\(folder)/\(File.schema)")
        let events = try TensorFile("\(folder)/\(File.events)")
        eventItems = try events.column("items")
        eventTimes = try events.column("times")
        eventParts = try events.column("parts")
        eventWeights = events.has("weights") ? try events.column("weights") : nil
        sequenceOffsets = try events.column("sequence_offsets")
        userSequences = try events.column("user_sequences")
        let userFile = try TensorFile("\(folder)/\(File.users)")
        users = Vocabulary(try StringTable("id", in: userFile))
        let itemFile = try TensorFile("\(folder)/\(File.items)")
        items = Vocabulary(try StringTable("id", in: itemFile))
        titles = itemFile.has("title_offsets") ? try StringTable("title", in: itemFile) : nil
        let hasCategories = schema.columns.contains { $0.vocabulary != nil }
        files = Files(
            events: events,
            users: userFile,
            items: itemFile,
            categories: hasCategories ? try TensorFile("\(folder)/\(File.categories)") : nil
        )
        guard eventTimes.count == eventItems.count, eventParts.count == eventItems.count,
            (eventWeights?.count ?? eventItems.count) == eventItems.count,
            userSequences.count == users.count + 1,
            sequenceOffsets.areOffsets(into: eventItems.count),
            userSequences.areOffsets(into: sequenceOffsets.count - 1),
            eventItems.allSatisfy({ $0 >= 0 && $0 < items.count }),
            (titles?.count ?? items.count) == items.count
        else { throw .file(folder, "the columns of the dataset do not fit each other") }
        for column in schema.columns { try check(column, folder) }
    }

    /// What the schema says must be true of the other files, for models are built from it.
    private func check(_ column: Schema.Column, _ folder: String) throws(PredictorError) {
        guard column.type != .number else { return }
        let buckets = column.hashBuckets ?? 0
        var codes: Int
        if column.type == .id {
            codes = column.entity == .users ? users.count : items.count
        } else {
            guard (0...Int(Int32.max) / 2).contains(buckets) else {
                throw .file(
                    "\(folder)/\(File.schema)",
                    "\(column.name) has \(buckets) hash buckets"
                )
            }
            codes = Int(Code.first(hashBuckets: buckets))
            if let vocabulary = column.vocabulary {
                codes += try dictionary(vocabulary).count
            } else {
                codes += (column.boundaries?.count ?? 0) + 1
            }
        }
        guard column.cardinality == codes else {
            throw .file(
                "\(folder)/\(File.schema)",
                "\(column.name) has \(codes) codes, not as many as it says"
            )
        }
    }

    /// The values of a column of the schema, one for each user, item or event.
    package func values(of column: Schema.Column) throws(PredictorError) -> FeatureValues {
        guard let files else {
            throw .input("the dataset has no feature \(column.name)")
        }
        let (file, rows) =
            switch column.entity {
            case .users: (files.users, users.count)
            case .items: (files.items, items.count)
            case .events: (files.events, eventItems.count)
            }
        let tensor = Self.tensorName(of: column.name)
        let values: FeatureValues
        let count: Int
        if column.isList {
            let offsets: Column<Int64> = try file.column("\(tensor)_offsets")
            let codes: Column<Int32> = try file.column("\(tensor)_values")
            values = .lists(codes, offsets: offsets)
            count = offsets.areOffsets(into: codes.count) ? offsets.count - 1 : -1
        } else if column.type == .number {
            let numbers: Column<Float> = try file.column(tensor)
            (values, count) = (.numbers(numbers), numbers.count)
        } else {
            let codes: Column<Int32> = try file.column(tensor)
            (values, count) = (.codes(codes), codes.count)
        }
        let most = column.cardinality ?? 0
        let isWithin =
            switch values {
            case .codes(let codes), .lists(let codes, _): codes.allSatisfy { $0 >= 0 && $0 < most }
            case .numbers: true
            }
        guard isWithin else {
            throw .file("tensor \"\(tensor)\"", "has codes beyond the \(most) of the schema")
        }
        guard count == rows else {
            throw .file(
                "tensor \"\(tensor)\"",
                "has \(count) values for \(rows) \(column.entity.rawValue)"
            )
        }
        return values
    }

    /// What the codes of a vocabulary stand for, from `Code.first` on.
    package func dictionary(_ vocabulary: String) throws(PredictorError) -> StringTable {
        guard let categories = files?.categories else {
            throw .file("the dataset", "has no vocabulary \(vocabulary)")
        }
        return try StringTable(vocabulary, in: categories)
    }

    static func tensorName(of feature: String) -> String { "feature.\(feature)" }

    /// Only the ids, for those who need no events.
    package static func readUsers(from folder: String) throws(PredictorError) -> Vocabulary {
        Vocabulary(try StringTable("id", in: TensorFile("\(folder)/\(File.users)")))
    }

    package static func readItems(from folder: String) throws(PredictorError) -> Vocabulary {
        Vocabulary(try StringTable("id", in: TensorFile("\(folder)/\(File.items)")))
    }

    /// Of each item, empty where it has none; nil where none has.
    package static func readTitles(from folder: String) throws(PredictorError) -> StringTable? {
        let file = try TensorFile("\(folder)/\(File.items)")
        return file.has("title_offsets") ? try StringTable("title", in: file) : nil
    }
}

/// The values of a feature.
package enum FeatureValues: Sendable {
    case codes(Column<Int32>)
    /// rows + 1 offsets; the codes of row r are those from `[r]` up to `[r + 1]`.
    case lists(Column<Int32>, offsets: Column<Int64>)
    case numbers(Column<Float>)
}

extension Column<Int64> {
    /// From 0 to `count`, and never down.
    func areOffsets(into count: Int) -> Bool {
        first == 0 && last == Int64(count) && zip(self, dropFirst()).allSatisfy { $0 <= $1 }
    }
}

extension StringTable {
    func tensors(_ name: String) -> [StreamedTensor] {
        [
            StreamedTensor("\(name)_bytes", count: bytes.count) { bytes[$0] },
            StreamedTensor("\(name)_offsets", count: offsets.count) { offsets[$0] },
        ]
    }

    init(_ name: String, in file: TensorFile) throws(PredictorError) {
        let offsets = try file.int64("\(name)_offsets")
        let bytes = try file.uint8("\(name)_bytes")
        guard offsets.first == 0, offsets.last == Int64(bytes.count),
            zip(offsets, offsets.dropFirst()).allSatisfy({ $0 <= $1 })
        else { throw .file("tensor \"\(name)_offsets\"", "is not in order") }
        self.init(bytes: bytes, offsets: offsets)
    }
}
