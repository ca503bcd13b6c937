// SPDX-License-Identifier: Apache-2.0

/// Examples of a training step, side by side; lists as values and offsets, with no padding.
package final class LoadedBatch: @unchecked Sendable {
    /// What the loader was given: indices of events or sequences.
    package internal(set) var examples: [Int32] = []
    /// examples + 1 entries; example e has the events from `[e]` up to `[e + 1]` of this batch.
    package internal(set) var offsets: [Int32] = [0]
    /// The events' indices in the dataset.
    package internal(set) var events: [Int32] = []
    /// One an event.
    package internal(set) var items: [Int32] = []
    /// One an example.
    package internal(set) var users: [Int32] = []
    /// In the order of the loader's columns: one an example of those of users, one an event of
    /// those of items and events.
    package internal(set) var features: [FeatureBatch]

    init(_ columns: [Schema.Column]) { features = columns.map { FeatureBatch($0) } }

    /// How many examples there are.
    package var count: Int { examples.count }

    func removeAll() {
        examples.removeAll(keepingCapacity: true)
        offsets.removeAll(keepingCapacity: true)
        offsets.append(0)
        events.removeAll(keepingCapacity: true)
        items.removeAll(keepingCapacity: true)
        users.removeAll(keepingCapacity: true)
        for place in features.indices { features[place].removeAll() }
    }
}

/// The values of a feature in a batch.
package struct FeatureBatch: Sendable {
    package let column: Schema.Column
    /// Of categories; of lists all codes, one list after the other.
    package private(set) var codes: [Int32] = []
    /// Of lists, rows + 1 entries; the codes of row r are those from `[r]` up to `[r + 1]`.
    package private(set) var offsets: [Int32] = [0]
    package private(set) var numbers: [Float] = []

    init(_ column: Schema.Column) { self.column = column }

    mutating func removeAll() {
        codes.removeAll(keepingCapacity: true)
        offsets.removeAll(keepingCapacity: true)
        offsets.append(0)
        numbers.removeAll(keepingCapacity: true)
    }

    mutating func append(_ values: FeatureValues, at rows: [Int32]) {
        switch values {
        case .codes(let column):
            codes.append(contentsOf: rows.lazy.map { column[Int($0)] })
        case .numbers(let column):
            numbers.append(contentsOf: rows.lazy.map { column[Int($0)] })
        case .lists(let column, let ends):
            for row in rows {
                for place in Int(ends[Int(row)])..<Int(ends[Int(row) + 1]) {
                    codes.append(column[place])
                }
                offsets.append(Int32(codes.count))
            }
        }
    }
}
