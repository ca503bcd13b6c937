// SPDX-License-Identifier: Apache-2.0
import CUDA

/// `Embedding` on a device.
final class DeviceEmbedding {
    let table: DeviceParameter
    private let embedding: Embedding
    private let batch: DeviceBatch
    private let rows: DeviceRows
    private let addSums: Kernel
    private let uses: DeviceUses
    private var staged: Staged?

    /// Where the batch has what `Embedding.use` found.
    private struct Staged {
        let codes: DeviceBatch.Part<Int32>
        let offsets: DeviceBatch.Part<Int32>?
        let rows: DeviceBatch.Part<Int32>
    }

    init(_ embedding: Embedding, _ layers: DeviceLayers) throws(CUDAError) {
        self.embedding = embedding
        table = try DeviceParameter(embedding.table, layers)
        batch = layers.batch
        rows = layers.rows
        addSums = try layers.kernel("add_sums")
        uses = try DeviceUses(columns: embedding.width, layers)
    }

    /// Adds what `Embedding.use` took to the batch.
    ///
    /// `code`: a row whose uses count nothing on the way back.
    func stage(except code: Int32 = -1) {
        let own = embedding.uses
        let used = own.rows.filter { $0 != code }
        staged = Staged(
            codes: batch.add(own.codes),
            offsets: own.offsets.isEmpty ? nil : batch.add(own.offsets),
            rows: batch.add(used)
        )
        uses.stage(own, of: used)
    }

    /// Writes the columns of `y` from `column` on.
    ///
    /// `entry`: the code of its first row; of lists the first.
    func forward(into y: DeviceMatrix, column: Int, from entry: Int = 0) throws(CUDAError) {
        guard let staged else { return }
        precondition(entry == 0 || staged.offsets == nil, "one code a row")
        try rows.embed(
            staged.codes,
            from: entry,
            staged.offsets,
            of: table.values.array,
            width: embedding.width,
            into: y,
            column: column
        )
    }

    /// What the rows that were used have of the gradient of y.
    func backward(
        _ gradient: DeviceMatrix,
        column: Int
    ) throws(CUDAError) -> DeviceParameter.Gradient? {
        guard let staged, let (pieces, ends) = try uses.pieces(of: gradient, column: column)
        else { return nil }
        return DeviceParameter.Gradient(
            parameter: table,
            pieces: pieces,
            used: (staged.rows, ends, batch)
        )
    }

    /// Adds what the rows that were used have of the gradient of y to that of the whole table.
    func add(
        _ gradient: DeviceMatrix,
        column: Int,
        to whole: DeviceMatrix
    ) throws(CUDAError) {
        guard let staged, let (pieces, ends) = try uses.pieces(of: gradient, column: column)
        else { return }
        var arguments = Kernel.Arguments()
        batch.append(staged.rows, to: &arguments)
        arguments.append(pieces.array)
        batch.append(ends, to: &arguments)
        arguments.append(Int32(staged.rows.count))
        arguments.append(Int32(embedding.width))
        arguments.append(whole.array)
        try addSums.launch(for: staged.rows.count * embedding.width, arguments)
    }
}
