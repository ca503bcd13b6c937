// SPDX-License-Identifier: Apache-2.0
import CUDA

/// `RowUses` on a device: sums over the entries of each row.
///
/// Entries are added up in pieces, so that a row that nearly all of a batch uses is not left to one thread, and
/// pieces then: in the same order each time.
final class DeviceUses {
    private let batch: DeviceBatch
    private let sum: Kernel
    private let pieces: DeviceMatrix
    private var staged: Staged?

    private struct Staged {
        /// Of the entries of each row, one row behind the other.
        let owners: DeviceBatch.Part<Int32>
        let weights: DeviceBatch.Part<Float>?
        /// Where the entries of each piece end, and the pieces of each row.
        let pieces: DeviceBatch.Part<Int32>
        let ends: DeviceBatch.Part<Int32>
    }

    /// Entries that one thread adds up.
    private static let piece = 128

    init(columns: Int, _ layers: DeviceLayers) throws(CUDAError) {
        batch = layers.batch
        sum = try layers.kernel("sum_pieces")
        pieces = try layers.matrix(columns: columns)
    }

    /// Adds the uses of these rows to the batch.
    func stage(_ uses: RowUses, of rows: some Sequence<Int32>) {
        let entries = uses.entries(of: rows, inPiecesOf: Self.piece)
        staged = Staged(
            owners: batch.add(entries.owners),
            weights: entries.weights.isEmpty ? nil : batch.add(entries.weights),
            pieces: batch.add(entries.pieces),
            ends: batch.add(entries.ends)
        )
    }

    /// Of each row Σ weight × from[owner], from a column on: in pieces, and where those of each row end.
    func pieces(
        of from: DeviceMatrix,
        column: Int = 0
    ) throws(CUDAError) -> (DeviceMatrix, ends: DeviceBatch.Part<Int32>)? {
        guard let staged else { return nil }
        try add(from, column, staged.owners, staged.weights, staged.pieces, into: pieces)
        return (pieces, staged.ends)
    }

    /// The same, added up.
    func sums(of from: DeviceMatrix, into sums: DeviceMatrix) throws(CUDAError) {
        guard let staged else { return }
        if staged.pieces.count == staged.ends.count {
            return try add(from, 0, staged.owners, staged.weights, staged.pieces, into: sums)
        }
        try add(from, 0, staged.owners, staged.weights, staged.pieces, into: pieces)
        try add(pieces, 0, nil, nil, staged.ends, into: sums)
    }

    private func add(
        _ from: DeviceMatrix,
        _ column: Int,
        _ owners: DeviceBatch.Part<Int32>?,
        _ weights: DeviceBatch.Part<Float>?,
        _ ends: DeviceBatch.Part<Int32>,
        into sums: DeviceMatrix
    ) throws(CUDAError) {
        try sums.resize(rows: ends.count)
        var arguments = Kernel.Arguments()
        arguments.append(from.array)
        arguments.append(Int32(from.columns))
        arguments.append(Int32(column))
        arguments.append(Int32(sums.columns))
        batch.append(owners, to: &arguments)
        batch.append(weights, to: &arguments)
        batch.append(ends, to: &arguments)
        arguments.append(Int32(sums.rows))
        arguments.append(sums.array)
        try sum.launch(for: sums.count, arguments)
    }
}
