// SPDX-License-Identifier: Apache-2.0
import CUDA

/// `Embedding` on a device.
final class DeviceEmbedding {
    let table: DeviceParameter
    private let embedding: Embedding
    private let batch: DeviceBatch
    private let embed: Kernel
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
        embed = try layers.kernel("embed")
        uses = try DeviceUses(columns: embedding.width, layers)
    }

    /// Adds what `Embedding.use` took to the batch.
    func stage() {
        let own = embedding.uses
        staged = Staged(
            codes: batch.add(own.codes),
            offsets: own.offsets.isEmpty ? nil : batch.add(own.offsets),
            rows: batch.add(own.rows)
        )
        uses.stage(own, of: own.rows)
    }

    /// Writes the columns of `y` from `column` on.
    func forward(into y: DeviceMatrix, column: Int) throws(CUDAError) {
        guard let staged else { return }
        var arguments = Kernel.Arguments()
        arguments.append(table.values.array)
        arguments.append(Int32(embedding.width))
        batch.append(staged.codes, to: &arguments)
        batch.append(staged.offsets, to: &arguments)
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
        guard let staged, let (pieces, ends) = try uses.pieces(of: gradient, column: column)
        else { return nil }
        return DeviceParameter.Gradient(
            parameter: table,
            pieces: pieces,
            used: (staged.rows, ends, batch)
        )
    }
}
