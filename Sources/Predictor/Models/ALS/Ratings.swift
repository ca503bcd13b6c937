// SPDX-License-Identifier: Apache-2.0
import Tables

/// How much each row had of each column: a sparse matrix, row by row.
struct Ratings: Sendable {
    struct Entry: Sendable, Equatable {
        let column: Int32
        var weight: Float
    }

    private(set) var offsets: [Int]
    private(set) var entries: [Entry]

    var rows: Int { offsets.count - 1 }

    func entries(_ row: Int) -> ArraySlice<Entry> { entries[offsets[row]..<offsets[row + 1]] }

    private init(offsets: [Int], entries: [Entry]) {
        self.offsets = offsets
        self.entries = entries
    }

    /// Users by the places of `items`; an event weighs what the dataset says, else one.
    init(_ dataset: Dataset, on parts: Set<Part>, _ items: [Int]) {
        var place = [Int32](repeating: -1, count: dataset.items.count)
        for (row, item) in items.enumerated() { place[item] = Int32(row) }
        let wanted = parts.map(\.rawValue)
        offsets = [0]
        entries = []
        for user in 0..<dataset.users.count {
            var events: [(column: Int32, weight: Float)] = []
            for event in dataset.events(ofUser: user)
            where wanted.contains(dataset.eventParts[event]) {
                let column = place[Int(dataset.eventItems[event])]
                let weight = dataset.eventWeights?[event] ?? 1
                if column >= 0 && weight > 0 { events.append((column, weight)) }
            }
            entries += Self.summed(events)
            offsets.append(entries.count)
        }
    }

    /// One entry of each column, ascending.
    static func summed(_ events: [(column: Int32, weight: Float)]) -> [Entry] {
        var entries: [Entry] = []
        for event in events.sorted(by: { $0.column < $1.column }) {
            if let last = entries.indices.last, entries[last].column == event.column {
                entries[last].weight += event.weight
            } else {
                entries.append(Entry(column: event.column, weight: event.weight))
            }
        }
        return entries
    }

    /// The same, column by column; `rows`: how many columns there are.
    func transposed(rows count: Int) -> Ratings {
        var offsets = [Int](repeating: 0, count: count + 1)
        for entry in entries { offsets[Int(entry.column) + 1] += 1 }
        for row in 0..<count { offsets[row + 1] += offsets[row] }
        var next = offsets
        var turned = [Entry](repeating: Entry(column: 0, weight: 0), count: entries.count)
        for row in 0..<rows {
            for entry in self.entries(row) {
                turned[next[Int(entry.column)]] = Entry(column: Int32(row), weight: entry.weight)
                next[Int(entry.column)] += 1
            }
        }
        return Ratings(offsets: offsets, entries: turned)
    }
}
