// SPDX-License-Identifier: Apache-2.0
import Tables

/// What a session model reads of each event: the item, and features of the item and of the event.
@safe struct SessionColumns: @unchecked Sendable {
    struct Feature: Sendable {
        let column: Schema.Column
        let values: FeatureValues
        /// What the codes stand for, where they stand for texts.
        let dictionary: StringTable?
        /// Of categories: whether a row has none.
        let isEverMissing: Bool
    }

    let items: Vocabulary
    let schema: Schema

    /// Categories first, each with an embedding.
    let categories: [Feature]
    /// Brought together by a dense layer.
    let numbers: [Feature]

    init(_ dataset: Dataset) throws(PredictorError) {
        var (categories, numbers): ([Feature], [Feature]) = ([], [])
        for column in dataset.schema.columns where column.entity != .users && column.type != .id {
            let vocabulary = column.vocabulary
            let values = try dataset.values(of: column)
            let isEverMissing =
                switch values {
                case .codes(let codes), .lists(let codes, _): codes.contains(Code.missing)
                case .numbers: false
                }
            let feature = Feature(
                column: column,
                values: values,
                dictionary: vocabulary == nil ? nil : try dataset.dictionary(vocabulary ?? ""),
                isEverMissing: isEverMissing
            )
            if column.type == .category {
                categories.append(feature)
            } else {
                numbers.append(feature)
            }
        }
        items = dataset.items
        schema = dataset.schema
        self.categories = categories
        self.numbers = numbers
    }
}

/// Sessions as a model reads them, one behind the other: codes and numbers of each row.
struct SessionTokens {
    /// Codes of a category; of lists with the ends of each row's.
    struct Codes {
        var values: [Int32] = []
        var ends: [Int32]?
    }

    private(set) var sequences = Sequences()
    /// `Code`, or the item behind them.
    private(set) var items: [Int32] = []
    private(set) var categories: [Codes]
    /// rows × numbers.
    private(set) var numbers: [Float] = []
    private let columns: SessionColumns
    private let isMet: [Bool]

    /// `isMet`: whether training met each item; the others have a code in common.
    init(_ columns: SessionColumns, isMet: [Bool]) {
        self.columns = columns
        self.isMet = isMet
        categories = columns.categories.map { Codes(ends: $0.column.isList ? [0] : nil) }
    }

    var rows: Int { items.count }

    mutating func removeAll() {
        sequences.removeAll()
        items.removeAll(keepingCapacity: true)
        numbers.removeAll(keepingCapacity: true)
        for place in categories.indices {
            categories[place].values.removeAll(keepingCapacity: true)
            if categories[place].ends != nil { categories[place].ends = [0] }
        }
    }

    /// The next session: items, and the events of the dataset that they are of, where they are of
    /// some; then a row for the mask to stand for; then rows that are nothing, up to a length.
    mutating func append(
        items: some Collection<Int32>,
        events: some Collection<Int32>,
        hasMask: Bool = false,
        paddedTo length: Int
    ) {
        precondition(events.isEmpty || events.count == items.count, "an event an item")
        for item in items {
            self.items.append(
                isMet[Int(item)] ? item + Code.first(hashBuckets: 0) : Code.unknown
            )
        }
        let padding = max(length, items.count + (hasMask ? 1 : 0)) - items.count
        self.items.append(contentsOf: repeatElement(Code.padding, count: padding))
        sequences.append(length: items.count + padding)
        for (place, feature) in columns.categories.enumerated() {
            let missing = feature.column.entity == .events && events.isEmpty ? items.count : 0
            switch (feature.column.entity, missing) {
            case (_, 1...): categories[place].append(Code.missing, count: missing)
            case (.items, _): categories[place].append(feature.values, at: items)
            default: categories[place].append(feature.values, at: events)
            }
            categories[place].append(Code.padding, count: padding)
        }
        appendNumbers(items, events, padding)
    }

    private mutating func appendNumbers(
        _ items: some Collection<Int32>,
        _ events: some Collection<Int32>,
        _ padding: Int
    ) {
        let width = columns.numbers.count
        guard width > 0 else { return }
        let first = numbers.count
        // What is not known is in the middle: numbers are about as often above zero as below.
        numbers.append(contentsOf: repeatElement(0, count: (items.count + padding) * width))
        for (place, feature) in columns.numbers.enumerated() {
            guard case .numbers(let values) = feature.values else { continue }
            if feature.column.entity == .items {
                for (row, item) in items.enumerated() {
                    numbers[first + row * width + place] = values[Int(item)]
                }
            } else {
                for (row, event) in events.enumerated() {
                    numbers[first + row * width + place] = values[Int(event)]
                }
            }
        }
    }
}

extension SessionTokens.Codes {
    /// The same code for some rows.
    fileprivate mutating func append(_ code: Int32, count: Int) {
        let first = Int32(values.count)
        values.append(contentsOf: repeatElement(code, count: count))
        ends?.append(contentsOf: (0..<Int32(count)).lazy.map { first + $0 + 1 })
    }

    fileprivate mutating func append(_ column: FeatureValues, at rows: some Collection<Int32>) {
        switch column {
        case .codes(let codes): values.append(contentsOf: rows.lazy.map { codes[Int($0)] })
        case .lists(let codes, let offsets):
            for row in rows {
                values += codes[Int(offsets[Int(row)])..<Int(offsets[Int(row) + 1])]
                ends?.append(Int32(values.count))
            }
        case .numbers: preconditionFailure("numbers have no codes")
        }
    }
}
