// SPDX-License-Identifier: Apache-2.0

/// Sequences of different lengths that lie one behind the other in the rows of a buffer, without
/// padding.
struct Sequences: Sendable {
    /// sequences + 1 entries; sequence s has the rows from `[s]` up to `[s + 1]`.
    private(set) var offsets: [Int32] = [0]
    /// Where each row stands in its sequence.
    private(set) var positions: [Int32] = []
    /// The length of the longest.
    private(set) var longest = 0

    var count: Int { offsets.count - 1 }
    var rows: Int { positions.count }

    func rows(of sequence: Int) -> Range<Int> {
        Int(offsets[sequence])..<Int(offsets[sequence + 1])
    }

    mutating func removeAll() {
        offsets.removeAll(keepingCapacity: true)
        offsets.append(0)
        positions.removeAll(keepingCapacity: true)
        longest = 0
    }

    mutating func append(length: Int) {
        positions += 0..<Int32(length)
        offsets.append(Int32(positions.count))
        longest = max(longest, length)
    }

    /// Some of them, as if there were no others.
    func part(_ range: Range<Int>) -> Sequences {
        var part = Sequences()
        for sequence in range { part.append(length: rows(of: sequence).count) }
        return part
    }
}

/// Some of the rows of sequences.
struct SelectedRows: Sendable {
    /// In order.
    private(set) var rows: [Int32] = []
    /// sequences + 1 entries; sequence s has the selected ones from `[s]` up to `[s + 1]`.
    private(set) var offsets: [Int32] = [0]
    private(set) var positions: [Int32] = []

    var count: Int { rows.count }

    mutating func removeAll() {
        rows.removeAll(keepingCapacity: true)
        offsets.removeAll(keepingCapacity: true)
        offsets.append(0)
        positions.removeAll(keepingCapacity: true)
    }

    /// The next sequence's, by their positions in it; `first`: its first row.
    mutating func append(_ positions: some Sequence<Int32>, first: Int) {
        for position in positions {
            rows.append(Int32(first) + position)
            self.positions.append(position)
        }
        offsets.append(Int32(rows.count))
    }

    /// Those of some sequences, which begin with row `first`, as if there were no others.
    func part(_ range: Range<Int>, first: Int) -> SelectedRows {
        var part = SelectedRows()
        for sequence in range {
            let own = Int(offsets[sequence])..<Int(offsets[sequence + 1])
            part.rows += rows[own].lazy.map { $0 - Int32(first) }
            part.positions += positions[own]
            part.offsets.append(Int32(part.rows.count))
        }
        return part
    }
}

extension RowBuffer {
    /// self = some rows of another.
    func gather(_ rows: [Int32], of other: RowBuffer) {
        resize(rows: rows.count)
        for (to, from) in rows.enumerated() {
            unsafe row(to).update(from: other.row(Int(from)), count: columns)
        }
    }

    /// Adds the rows of another to some rows of this.
    func scatter(_ other: RowBuffer, to rows: [Int32]) {
        for (from, to) in rows.enumerated() {
            let (source, target) = unsafe (other.row(from), row(Int(to)))
            for c in 0..<columns { unsafe target[c] += source[c] }
        }
    }
}
