// SPDX-License-Identifier: Apache-2.0
import CUDA

/// `ContrastiveLoss` on a device.
final class DeviceContrastiveLoss {
    private let layers: DeviceLayers
    private let temperature: Float
    private let close: Kernel
    private let softmax: Kernel
    private let losses: DeviceMatrix
    /// Of some queries at a time, all their candidates.
    private var logits: DeviceArray<Float>
    private var staged: Staged?

    /// Floats of the logits: 1 GiB.
    ///
    /// Never what happens to be free: in how many parts gradients are added up is in their last bits.
    private let block: Int

    private struct Staged {
        let copies: [ContrastiveLoss.Copy]
        let bias: DeviceBatch.Part<Float>
        let target: DeviceBatch.Part<Int32>
        let targetBias: DeviceBatch.Part<Float>
        /// Of the copies.
        let queries: DeviceBatch.Part<Int32>
        let candidates: DeviceBatch.Part<Int32>
    }

    init(
        temperature: Double,
        _ layers: DeviceLayers,
        block: Int = 1 << 28
    ) throws(CUDAError) {
        self.block = block
        self.layers = layers
        self.temperature = Float(temperature)
        close = try layers.kernel("close")
        softmax = try layers.kernel("softmax")
        losses = try layers.matrix(columns: 1)
        logits = try DeviceArray(0, on: layers.device)
    }

    /// Adds what `run` needs to the batch.
    func stage(_ targets: ContrastiveLoss.Targets) {
        let batch = layers.batch
        staged = Staged(
            copies: targets.copies,
            bias: batch.add(targets.bias),
            target: batch.add(targets.target),
            targetBias: batch.add(targets.targetBias),
            queries: batch.add(targets.copies.map(\.query)),
            candidates: batch.add(targets.copies.map(\.candidate))
        )
    }

    /// Gradients as those of `ContrastiveLoss.run`; the losses of the queries are to be asked for by `loss`.
    func run(
        _ q: DeviceMatrix,
        _ c: DeviceMatrix,
        dq: DeviceMatrix,
        dc: DeviceMatrix,
        rowsOfC moved: Int
    ) throws(CUDAError) {
        guard let staged else { return }
        let count = c.rows
        try dq.resize(rows: q.rows)
        try dc.resize(rows: moved)
        try losses.resize(rows: q.rows)
        let rows = try room(for: q.rows, count)
        for first in stride(from: 0, to: q.rows, by: rows) {
            let queries = first..<min(first + rows, q.rows)
            let block = operand(queries.count, count)
            try layers.products.multiply(
                q.operand(queries),
                c.operand().transposed,
                scale: 1 / temperature,
                into: block
            )
            try closeCopies(queries, count, staged)
            try softmax(queries, count, of: q.rows, staged)
            try layers.products.multiply(
                block,
                c.operand(),
                scale: 1 / temperature,
                into: dq.operand(queries)
            )
            try layers.products.multiply(
                operand(queries.count, moved, stride: count).transposed,
                q.operand(queries),
                scale: 1 / temperature,
                adds: first > 0,
                into: dc.operand()
            )
        }
    }

    /// The mean over the queries of the last `run`; waits for it.
    func loss() throws(CUDAError) -> Double {
        try losses.mean()
    }

    private func operand(_ rows: Int, _ columns: Int, stride: Int? = nil) -> MatrixProducts.Operand
    {
        MatrixProducts.Operand(logits, rows: rows, columns: columns, stride: stride)
    }

    /// Queries at a time.
    private func room(for queries: Int, _ count: Int) throws(CUDAError) -> Int {
        let rows = max(1, min(queries, block / max(1, count)))
        if rows * count > logits.count {
            // The old one goes before the new one comes. A little more: batches differ.
            logits = try DeviceArray(0, on: layers.device)
            logits = try DeviceArray(
                max(rows * count, min(block, queries * (count + count / 8))),
                on: layers.device
            )
        }
        return rows
    }

    private func closeCopies(
        _ queries: Range<Int>,
        _ count: Int,
        _ staged: Staged
    ) throws(CUDAError) {
        let first = staged.copies.place(of: queries.lowerBound)
        let end = staged.copies.place(of: queries.upperBound)
        guard end > first else { return }
        var arguments = Kernel.Arguments()
        arguments.append(logits)
        arguments.append(Int32(count))
        arguments.append(Int32(queries.lowerBound))
        layers.batch.append(staged.queries, from: first, to: &arguments)
        layers.batch.append(staged.candidates, from: first, to: &arguments)
        arguments.append(Int32(end - first))
        try close.launch(for: end - first, arguments)
    }

    private func softmax(
        _ queries: Range<Int>,
        _ count: Int,
        of total: Int,
        _ staged: Staged
    ) throws(CUDAError) {
        var arguments = Kernel.Arguments()
        arguments.append(logits)
        arguments.append(Int32(count))
        layers.batch.append(staged.bias, to: &arguments)
        layers.batch.append(staged.target, from: queries.lowerBound, to: &arguments)
        layers.batch.append(staged.targetBias, from: queries.lowerBound, to: &arguments)
        arguments.append(1 / Float(total))
        arguments.append(losses.array, from: queries.lowerBound)
        try softmax.launch(
            blocks: (queries.count, 1),
            threads: (DeviceLayers.threads, 1),
            arguments
        )
    }
}
