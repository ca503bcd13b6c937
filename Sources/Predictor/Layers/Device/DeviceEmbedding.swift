// SPDX-License-Identifier: Apache-2.0
import CUDA

/// `Embedding` on a device.
final class DeviceEmbedding {
    let table: DeviceParameter
    private let embedding: Embedding
    private let batch: DeviceBatch
    private let embed: Kernel
    private let sum: Kernel
    private let pieces: DeviceMatrix
    private var used: Used?

    /// Where the batch has what `Embedding.use` found.
    private struct Used {
        let codes: DeviceBatch.Part<Int32>
        let offsets: DeviceBatch.Part<Int32>?
        let rows: DeviceBatch.Part<Int32>
        /// Of the entries of each row, one row behind the other.
        let owners: DeviceBatch.Part<Int32>
        let weights: DeviceBatch.Part<Float>?
        /// Where the entries of each piece end, and the pieces of each row.
        let pieces: DeviceBatch.Part<Int32>
        let ends: DeviceBatch.Part<Int32>
    }

    /// Entries that one thread adds up: rows that nearly all of a batch uses are not left to one alone.
    private static let piece = 128

    init(_ embedding: Embedding, _ layers: DeviceLayers) throws(CUDAError) {
        self.embedding = embedding
        table = try DeviceParameter(embedding.table, layers)
        batch = layers.batch
        embed = try layers.kernel("embed")
        sum = try layers.kernel("sum_pieces")
        pieces = try layers.matrix(columns: embedding.width)
    }

    /// Adds what `Embedding.use` took to the batch.
    func stage() {
        let uses = embedding.uses
        var owners: [Int32] = []
        var weights: [Float] = []
        var pieces: [Int32] = []
        var ends: [Int32] = []
        owners.reserveCapacity(uses.codes.count)
        let isWeighted = !uses.weights.isEmpty
        for row in uses.rows {
            let first = owners.count
            uses.forEachEntry(of: row) { owner, weight in
                if owners.count > first, (owners.count - first) % Self.piece == 0 {
                    pieces.append(Int32(owners.count))
                }
                owners.append(Int32(owner))
                if isWeighted { weights.append(weight) }
            }
            pieces.append(Int32(owners.count))
            ends.append(Int32(pieces.count))
        }
        used = Used(
            codes: batch.add(uses.codes),
            offsets: uses.offsets.isEmpty ? nil : batch.add(uses.offsets),
            rows: batch.add(uses.rows),
            owners: batch.add(owners),
            weights: isWeighted ? batch.add(weights) : nil,
            pieces: batch.add(pieces),
            ends: batch.add(ends)
        )
    }

    /// Writes the columns of `y` from `column` on.
    func forward(into y: DeviceMatrix, column: Int) throws(CUDAError) {
        guard let used else { return }
        var arguments = Kernel.Arguments()
        arguments.append(table.values.array)
        arguments.append(Int32(embedding.width))
        batch.append(used.codes, to: &arguments)
        batch.append(used.offsets, to: &arguments)
        arguments.append(y.array)
        arguments.append(Int32(y.columns))
        arguments.append(Int32(column))
        arguments.append(Int32(y.rows))
        try embed.launch(for: y.rows * embedding.width, arguments)
    }

    /// What the rows that were used have of the gradient of y.
    func backward(
        _ gradient: DeviceMatrix,
        column: Int
    ) throws(CUDAError) -> DeviceParameter.Gradient? {
        guard let used else { return nil }
        try pieces.resize(rows: used.pieces.count)
        var arguments = Kernel.Arguments()
        arguments.append(gradient.array)
        arguments.append(Int32(gradient.columns))
        arguments.append(Int32(column))
        arguments.append(Int32(pieces.columns))
        batch.append(used.owners, to: &arguments)
        batch.append(used.weights, to: &arguments)
        batch.append(used.pieces, to: &arguments)
        arguments.append(Int32(pieces.rows))
        arguments.append(pieces.array)
        try sum.launch(for: pieces.count, arguments)
        return DeviceParameter.Gradient(
            parameter: table,
            pieces: pieces,
            used: (used.rows, used.ends, batch)
        )
    }
}
