// SPDX-License-Identifier: Apache-2.0
import Tables

/// What a dataset looks like: counts, distributions, and its columns.
package struct DatasetProfile: Sendable, Encodable {
    /// How many values are in each bin.
    package struct Histogram: Sendable, Encodable {
        package struct Bin: Sendable, Encodable {
            /// The first and last value that belong to it.
            package let first: Int
            package let last: Int
            package let count: Int
        }
        package let bins: [Bin]
        package let mean: Double
        package let median: Int
        package let largest: Int
    }

    package struct Column: Sendable, Encodable {
        package struct Value: Sendable, Encodable {
            package let value: String
            package let count: Int
        }
        package let schema: Schema.Column
        /// Of categories, among all rows: no value at all, and one that training did not know.
        package var missing: Int?
        package var unknown: Int?
        /// The most frequent ones of categories.
        package var top: [Value] = []
        /// Least, mean and greatest of numbers, as they stand in the dataset.
        package var range: [Float] = []
    }

    package let users: Int
    package let items: Int
    package let sequences: Int
    package let events: Int
    /// Events of each part.
    package let parts: [String: Int]
    /// Seconds since 1970; nil when the source has no time.
    package let firstTime: Int?
    package let lastTime: Int?
    package let userEvents: Histogram
    package let itemEvents: Histogram
    package let sequenceEvents: Histogram
    package let columns: [Column]

    package init(_ dataset: Dataset) throws(PredictorError) {
        users = dataset.users.count
        items = dataset.items.count
        sequences = dataset.sequenceCount
        events = dataset.eventItems.count
        var parts = [Int](repeating: 0, count: Part.allCases.count)
        for part in dataset.eventParts where Int(part) < parts.count { parts[Int(part)] += 1 }
        self.parts = Dictionary(
            uniqueKeysWithValues: Part.allCases.map { ("\($0)", parts[Int($0.rawValue)]) }
        )
        let last = dataset.eventTimes.max() ?? 0
        firstTime = last == 0 ? nil : dataset.eventTimes.min().map { Int($0) }
        lastTime = last == 0 ? nil : Int(last)
        userEvents = Histogram((0..<users).map { dataset.events(ofUser: $0).count })
        itemEvents = Histogram(dataset.itemCounts(in: .all))
        sequenceEvents = Histogram((0..<sequences).map { dataset.events(ofSequence: $0).count })
        var columns: [Column] = []
        for column in dataset.schema.columns where column.type != .id {
            columns.append(try Column(column, dataset))
        }
        self.columns = columns
    }
}

extension DatasetProfile.Histogram {
    /// Bins that double in width: 1, 2 to 3, 4 to 7 and so on.
    init(_ values: [Int]) {
        var counts: [Int] = []
        for value in values {
            let bin = value <= 0 ? 0 : Int.bitWidth - value.leadingZeroBitCount
            while counts.count <= bin { counts.append(0) }
            counts[bin] += 1
        }
        bins = counts.enumerated().drop { $0.element == 0 }.map { bin, count in
            .init(
                first: bin == 0 ? 0 : 1 << (bin - 1),
                last: bin == 0 ? 0 : 1 << bin - 1,
                count: count
            )
        }
        let sorted = values.sorted()
        mean = values.isEmpty ? 0 : Double(values.reduce(0, +)) / Double(values.count)
        median = sorted.isEmpty ? 0 : sorted[(sorted.count - 1) / 2]
        largest = sorted.last ?? 0
    }
}

extension DatasetProfile.Column {
    fileprivate init(_ column: Schema.Column, _ dataset: Dataset) throws(PredictorError) {
        schema = column
        switch try dataset.values(of: column) {
        case .numbers(let numbers):
            var sum = 0.0
            var (least, greatest) = (Float.infinity, -Float.infinity)
            for number in numbers {
                sum += Double(number)
                least = min(least, number)
                greatest = max(greatest, number)
            }
            if numbers.count > 0 { range = [least, Float(sum / Double(numbers.count)), greatest] }
        case .codes(let codes): try count(codes, dataset)
        case .lists(let codes, _): try count(codes, dataset)
        }
    }

    private mutating func count(
        _ codes: Predictor.Column<Int32>,
        _ dataset: Dataset
    ) throws(PredictorError) {
        var counts = [Int](repeating: 0, count: schema.cardinality ?? 0)
        for code in codes where code >= 0 && Int(code) < counts.count { counts[Int(code)] += 1 }
        let first = Int(Code.first(hashBuckets: schema.hashBuckets ?? 0))
        guard counts.count >= first else { return }
        missing = counts[Int(Code.missing)]
        unknown = counts[Int(Code.unknown)..<first].reduce(0, +)
        let order = (first..<counts.count).sorted { (counts[$1], $0) < (counts[$0], $1) }
        let names = try name(order.prefix(5), first, dataset)
        top = zip(names, order).map { .init(value: $0, count: counts[$1]) }
    }

    private func name(
        _ codes: some Sequence<Int>,
        _ first: Int,
        _ dataset: Dataset
    ) throws(PredictorError) -> [String] {
        if let vocabulary = schema.vocabulary {
            let values = try dataset.dictionary(vocabulary)
            return codes.map { values[$0 - first] }
        }
        let bounds = schema.boundaries ?? []
        return codes.map { code in
            let place = code - first
            if place == 0 { return "below \(bounds.first ?? 0)" }
            return place < bounds.count
                ? "\(bounds[place - 1]) to \(bounds[place])" : "from \(bounds[place - 1])"
        }
    }
}
