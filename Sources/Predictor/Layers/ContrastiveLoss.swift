// SPDX-License-Identifier: Apache-2.0
private import CKernels
private import Executors

/// Softmax over candidates: how surely each query picks its own out of all that are there.
///
/// logits s = q · cᵀ / temperature + bias; loss = mean over the queries of log Σ exp(s) − s of the
/// right one. q: queries × d, c: candidates × d. A candidate that stands for several has the
/// logarithm of how many as its bias: in-batch negatives (Hidasi et al. 2016) are the distinct items
/// of the batch with that, which is the same sum with fewer columns. The logits of some
/// queries at a time are made, used for both gradients, and forgotten.
@safe final class ContrastiveLoss: @unchecked Sendable {
    struct Copy: Sendable {
        let query: Int32
        let candidate: Int32
    }

    /// What is right, and what counts how much.
    struct Targets: Sendable {
        /// Of each candidate, to be added to its logits.
        var bias: [Float] = []
        /// Of each query: its own candidate.
        var target: [Int32] = []
        /// What is added to the logit of the own candidate, in place of its bias.
        var targetBias: [Float] = []
        /// Candidates that are another copy of a query's own, and count nothing for it; by query.
        var copies: [Copy] = []
    }

    private let threads: Int
    private let temperature: Float
    /// A thread's logits, and its part of the gradient of the candidates.
    private let logits: [RowBuffer]
    private let partial: [RowBuffer]
    private let losses = RowBuffer(columns: 1)
    /// Floats of a thread's logits: about what the second cache holds.
    private static let block = 1 << 18

    init(columns: Int, temperature: Double, threads: Int) {
        self.threads = threads
        self.temperature = Float(temperature)
        logits = (0..<threads).map { _ in RowBuffer(columns: 1) }
        partial = (0..<threads).map { _ in RowBuffer(columns: columns) }
    }

    /// The loss of each query, and gradients of the mean of all into dq and, for the first rows of
    /// c, as many as dc is to have, into dc.
    func run(
        _ q: RowBuffer,
        _ c: RowBuffer,
        _ targets: Targets,
        dq: RowBuffer,
        dc: RowBuffer,
        rowsOfC moved: Int
    ) -> Double {
        let count = c.rows
        dq.resize(rows: q.rows)
        dc.resize(rows: moved)
        losses.resize(rows: q.rows)
        let blockRows = max(16, min(512, Self.block / max(1, count)))
        let parts = max(1, min(threads, q.rows / 16))
        parallelFor(parts, threads: parts) { part, thread in
            let queries = q.rows * part.lowerBound / parts..<q.rows * part.upperBound / parts
            let own = thread == 0 ? dc : partial[thread]
            own.resize(rows: moved)
            let buffer = logits[thread]
            buffer.resize(rows: blockRows * count)
            for first in stride(from: queries.lowerBound, to: queries.upperBound, by: blockRows) {
                let rows = first..<min(first + blockRows, queries.upperBound)
                let block = unsafe MatrixView(
                    buffer.start,
                    rows: rows.count,
                    columns: count,
                    stride: count
                )
                BLAS.multiply(
                    MatrixView(q, rows: rows),
                    MatrixView(c, rows: 0..<count).transposed,
                    scale: 1 / temperature,
                    into: block
                )
                for copy in targets.copies[targets.copies.place(of: first)...] {
                    guard copy.query < rows.upperBound else { break }
                    let place = (Int(copy.query) - first) * count + Int(copy.candidate)
                    unsafe block.start[place] = -.infinity
                }
                softmax(block, rows, of: q.rows, targets)
                BLAS.multiply(
                    block,
                    MatrixView(c, rows: 0..<count),
                    scale: 1 / temperature,
                    into: MatrixView(dq, rows: rows)
                )
                let columns = unsafe MatrixView(
                    block.start,
                    rows: rows.count,
                    columns: moved,
                    stride: count
                )
                BLAS.multiply(
                    columns.transposed,
                    MatrixView(q, rows: rows),
                    scale: 1 / temperature,
                    adds: first > queries.lowerBound,
                    into: MatrixView(own, rows: 0..<moved)
                )
            }
        }
        for thread in 1..<max(1, parts) { dc.add(partial[thread], threads: threads) }
        return losses.values.reduce(0) { $0 + Double($1) } / Double(max(1, q.rows))
    }

    private func softmax(_ block: MatrixView, _ rows: Range<Int>, of total: Int, _ targets: Targets)
    {
        unsafe targets.bias.withUnsafeBufferPointer { bias in
            unsafe targets.target.withUnsafeBufferPointer { target in
                unsafe targets.targetBias.withUnsafeBufferPointer { targetBias in
                    guard let target = target.baseAddress, let targetBias = targetBias.baseAddress
                    else { return }
                    var softmax = unsafe larder_softmax(
                        logits: block.start,
                        rows: rows.count,
                        columns: block.columns,
                        stride: block.stride,
                        bias: bias.baseAddress,
                        target: target + rows.lowerBound,
                        target_bias: targetBias + rows.lowerBound,
                        scale: 1 / Float(total),
                        loss: losses.row(rows.lowerBound)
                    )
                    unsafe larder_softmax(&softmax)
                }
            }
        }
    }
}

extension [ContrastiveLoss.Copy] {
    /// The first of this query or a later one.
    func place(of query: Int) -> Int {
        var (low, high) = (0, count)
        while low < high {
            let middle = (low + high) / 2
            if self[middle].query < query { low = middle + 1 } else { high = middle }
        }
        return low
    }
}
