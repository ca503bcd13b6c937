// SPDX-License-Identifier: Apache-2.0
import CKernels

/// Which rows of a table a batch uses, seen from the rows: each with all entries that use it, so
/// that their gradients are added up without a search.
@safe final class RowUses: @unchecked Sendable {
    /// The row that each entry uses.
    private(set) var codes: [Int32] = []
    /// Of lists, owners + 1 of them: which entries are whose; empty: entry e is owner e's.
    private(set) var offsets: [Int32] = []
    /// Of lists: one over how many entries the owner has; empty: one.
    private(set) var weights: [Float] = []
    /// Rows that are used, each once.
    private(set) var rows: [Int32] = []
    private var owners: [Int32] = []
    /// The first entry of each row, -1 where it is not used; and the entry behind each.
    private var first: [Int32]
    private var next: [Int32] = []

    /// `count`: rows of the table.
    init(count: Int) { first = [Int32](repeating: -1, count: count) }

    /// Takes the codes of a batch: one an owner, or lists with owners + 1 offsets.
    func use(_ codes: some Collection<Int32>, offsets: [Int32]? = nil) {
        self.codes.removeAll(keepingCapacity: true)
        self.codes.append(contentsOf: codes)
        if let offsets {
            own(offsets)
        } else {
            if !self.offsets.isEmpty {
                self.offsets = []
                weights = []
                owners = []
            }
            owners += (Int32(owners.count)..<Int32(max(owners.count, self.codes.count)))
        }
        link()
    }

    private func own(_ offsets: [Int32]) {
        self.offsets = offsets
        weights = Self.weights(of: offsets)
        owners.removeAll(keepingCapacity: true)
        for (owner, (start, end)) in zip(offsets, offsets.dropFirst()).enumerated() {
            for _ in start..<end { owners.append(Int32(owner)) }
        }
    }

    /// Of the entries of lists: one over how many the owner has.
    static func weights(of offsets: [Int32]) -> [Float] {
        var weights: [Float] = []
        for (start, end) in zip(offsets, offsets.dropFirst()) {
            weights += repeatElement(1 / Float(end - start), count: Int(end - start))
        }
        return weights
    }

    /// Backwards, so that the entries of a row stand in order.
    private func link() {
        // Out of here meanwhile: each access to what a class has is checked, which takes longer than what is done.
        var (first, next, rows): ([Int32], [Int32], [Int32]) = ([], [], [])
        swap(&first, &self.first)
        swap(&next, &self.next)
        swap(&rows, &self.rows)
        defer {
            swap(&first, &self.first)
            swap(&next, &self.next)
            swap(&rows, &self.rows)
        }
        let codes = codes
        for row in rows { first[Int(row)] = -1 }
        rows.removeAll(keepingCapacity: true)
        if next.count < codes.count {
            next += [Int32](repeating: -1, count: codes.count - next.count)
        }
        for entry in codes.indices.reversed() {
            let row = Int(codes[entry])
            next[entry] = first[row]
            if first[row] < 0 { rows.append(Int32(row)) }
            first[row] = Int32(entry)
        }
    }

    /// The owners of the entries that use a row, in order, with their weights.
    func forEachEntry(of row: Int32, _ body: (_ owner: Int, _ weight: Float) -> Void) {
        var entry = Int(first[Int(row)])
        while entry >= 0 {
            body(Int(owners[entry]), weights.isEmpty ? 1 : weights[entry])
            entry = Int(next[entry])
        }
    }

    /// The entries of rows, one row behind the other.
    struct Entries {
        var owners: [Int32] = []
        /// Empty: one each.
        var weights: [Float] = []
        /// Where the entries of each piece end: no piece has more than it may, or entries of two rows.
        var pieces: [Int32] = []
        /// Where the pieces of each row end.
        var ends: [Int32] = []
    }

    /// `piece`: entries that a piece may have.
    func entries(of wanted: some Sequence<Int32>, inPiecesOf piece: Int) -> Entries {
        let (first, next, owners, weights) = (first, next, owners, weights)
        var entries = Entries()
        entries.owners.reserveCapacity(codes.count)
        if !weights.isEmpty { entries.weights.reserveCapacity(codes.count) }
        for row in wanted {
            var entry = Int(first[Int(row)])
            var left = piece
            while entry >= 0 {
                if left == 0 {
                    entries.pieces.append(Int32(entries.owners.count))
                    left = piece
                }
                left -= 1
                entries.owners.append(owners[entry])
                if !weights.isEmpty { entries.weights.append(weights[entry]) }
                entry = Int(next[entry])
            }
            entries.pieces.append(Int32(entries.owners.count))
            entries.ends.append(Int32(entries.pieces.count))
        }
        return entries
    }

    func withKernel<T>(_ body: (UnsafePointer<larder_uses>) -> T) -> T {
        unsafe first.withUnsafeBufferPointer { first in
            unsafe next.withUnsafeBufferPointer { next in
                unsafe owners.withUnsafeBufferPointer { owners in
                    unsafe weights.withUnsafeBufferPointer { weights in
                        unsafe rows.withUnsafeBufferPointer { rows in
                            var uses = unsafe larder_uses(
                                first: first.baseAddress,
                                next: next.baseAddress,
                                owner: owners.baseAddress,
                                weight: weights.isEmpty ? nil : weights.baseAddress,
                                rows: rows.baseAddress
                            )
                            return unsafe body(&uses)
                        }
                    }
                }
            }
        }
    }
}
