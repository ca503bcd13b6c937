// SPDX-License-Identifier: Apache-2.0
import CUDA

/// Sequences of a batch, and which of their rows ask in a transformer's last layer, on a device.
struct DeviceSequences {
    /// Some rows of the sequences.
    struct Rows {
        let count: Int
        /// Sequences + 1 of them, as in `Sequences`.
        let offsets: [Int32]
        let ends: DeviceBatch.Part<Int32>
        /// The sequence that each is of, and where it stands in it.
        let owners: DeviceBatch.Part<Int32>
        let positions: DeviceBatch.Part<Int32>

        fileprivate init(_ offsets: [Int32], _ positions: [Int32], _ batch: DeviceBatch) {
            count = positions.count
            self.offsets = offsets
            ends = batch.add(offsets)
            var owners: [Int32] = []
            owners.reserveCapacity(count)
            for sequence in 0..<offsets.count - 1 {
                let own = offsets[sequence + 1] - offsets[sequence]
                owners += repeatElement(Int32(sequence), count: Int(own))
            }
            self.owners = batch.add(owners)
            self.positions = batch.add(positions)
        }
    }

    /// The length of the longest, and one at least.
    let reach: Int
    let all: Rows
    let selected: Rows
    /// Where the selected ones are among all.
    let selectedRows: DeviceBatch.Part<Int32>

    /// Adds them to the batch.
    init(_ sequences: Sequences, _ selected: SelectedRows, _ batch: DeviceBatch) {
        reach = max(1, sequences.longest)
        all = Rows(sequences.offsets, sequences.positions, batch)
        self.selected = Rows(selected.offsets, selected.positions, batch)
        selectedRows = batch.add(selected.rows)
    }

    /// Sequences that are worked on at a time.
    struct Group {
        var keys: Range<Int>
        var queries: Range<Int>
    }

    /// All sequences in groups of up to so many queries, and one sequence at least.
    func groups(_ asking: Rows, most: Int) -> [Group] {
        var groups: [Group] = []
        for sequence in 0..<all.offsets.count - 1 {
            let own = Group(
                keys: Int(all.offsets[sequence])..<Int(all.offsets[sequence + 1]),
                queries: Int(asking.offsets[sequence])..<Int(asking.offsets[sequence + 1])
            )
            // No group without a query: there are no products of nothing.
            if let last = groups.last,
                own.queries.isEmpty || last.queries.isEmpty
                    || own.queries.upperBound - last.queries.lowerBound <= most
            {
                groups[groups.count - 1] = Group(
                    keys: last.keys.lowerBound..<own.keys.upperBound,
                    queries: last.queries.lowerBound..<own.queries.upperBound
                )
            } else {
                groups.append(own)
            }
        }
        return groups
    }
}
