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

    /// The length of the longest.
    let longest: Int
    let all: Rows
    let selected: Rows
    /// Where the selected ones are among all.
    let selectedRows: DeviceBatch.Part<Int32>

    /// Adds them to the batch.
    init(_ sequences: Sequences, _ selected: SelectedRows, _ batch: DeviceBatch) {
        longest = sequences.longest
        all = Rows(sequences.offsets, sequences.positions, batch)
        self.selected = Rows(selected.offsets, selected.positions, batch)
        selectedRows = batch.add(selected.rows)
    }
}
