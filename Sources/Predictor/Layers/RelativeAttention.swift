// SPDX-License-Identifier: Apache-2.0
import CKernels
private import Glibc

/// What every layer of a transformer has in common.
struct TransformerSettings: Sendable, Equatable {
    /// Numbers of a row.
    var width = 64
    var heads = 4
    /// Numbers of a row that a head has.
    var headWidth: Int { width / heads }
    var layers = 2
    /// Numbers between the two dense layers behind the attention.
    var inner = 256
    var dropout = 0.3
    /// Of the layer norms.
    var epsilon = 1e-5
    /// Of the weights' first values.
    var deviation: Float = 0.02
    /// Whether a row sees none behind it.
    var isCausal = false
}

/// Multi-head attention with relative positions, as in XLNet.
///
/// Dai et al. 2019, Yang et al. 2019. a = softmax(((q + u) · kᵀ + (q + w) · rᵀ) / √size) · v · O, with q = x Q, k = x K, v = x V, and r = s R
/// for the distance of query and key, s its sines and cosines; u and w are biases of each head.
/// Queries may be some rows only.
@safe final class RelativeAttention: @unchecked Sendable {
    let settings: TransformerSettings
    /// What a pass leaves for the one back, and needs meanwhile.
    @safe private final class Work {
        let contentBias: RowBuffer
        let positionBias: RowBuffer
        /// Sines and cosines of distances from the greatest down to its negative.
        private(set) var waves: RowBuffer
        /// Those that are needed, some of them dropped.
        let sines: RowBuffer
        let positions: RowBuffer
        /// A distance a column.
        var turned = RowBuffer(columns: 1)
        /// heads × distances.
        var offsets = RowBuffer(columns: 1)
        let q: RowBuffer
        let kv: RowBuffer
        let heads: RowBuffer
        let logSums: RowBuffer
        let dHeads: RowBuffer
        let dq: RowBuffer
        let dkv: RowBuffer
        let dPositions: RowBuffer
        let scratch = RowBuffer(columns: 1)

        init(_ settings: TransformerSettings) {
            let width = settings.width
            contentBias = RowBuffer(rows: 1, columns: width)
            positionBias = RowBuffer(rows: 1, columns: width)
            waves = RowBuffer(columns: width)
            sines = RowBuffer(columns: width)
            positions = RowBuffer(columns: width)
            q = RowBuffer(columns: width)
            kv = RowBuffer(columns: 2 * width)
            heads = RowBuffer(columns: width)
            logSums = RowBuffer(columns: settings.heads)
            dHeads = RowBuffer(columns: width)
            dq = RowBuffer(columns: width)
            dkv = RowBuffer(columns: 2 * width)
            dPositions = RowBuffer(columns: width)
        }

        func prepareWaves(reach: Int) {
            guard waves.rows < 2 * reach - 1 else { return }
            waves = RelativeAttention.waves(reach: reach, width: waves.columns)
        }
    }

    /// Sines, then cosines, as in XLNet, of the distances `reach` - 1 down to its negative.
    static func waves(reach: Int, width: Int) -> RowBuffer {
        let waves = RowBuffer(rows: 2 * reach - 1, columns: width)
        let half = width / 2
        for row in 0..<waves.rows {
            let to = unsafe waves.row(row)
            for c in 0..<half {
                let angle = Float(reach - 1 - row) / powf(10_000, Float(c) / Float(half))
                unsafe to[c] = sinf(angle)
                unsafe to[half + c] = cosf(angle)
            }
        }
        return waves
    }

    let query: Linear
    let keyAndValue: Linear
    let position: Linear
    let output: Linear
    let contentBias: Parameter
    let positionBias: Parameter
    let dropout: Dropout
    let positionDropout: Dropout

    private let work: Work

    init(
        _ settings: TransformerSettings,
        for kind: OptimiserKind,
        _ generator: inout SeededGenerator
    ) {
        let width = settings.width
        func linear(_ outputs: Int, _ generator: inout SeededGenerator) -> Linear {
            Linear(
                inputs: width,
                outputs: outputs,
                rectifies: false,
                hasBias: false,
                start: .normal(settings.deviation),
                for: kind,
                &generator
            )
        }
        query = linear(width, &generator)
        keyAndValue = linear(2 * width, &generator)
        position = linear(width, &generator)
        output = linear(width, &generator)
        contentBias = Parameter(rows: 1, columns: width, for: kind) {
            settings.deviation * generator.normalFloat()
        }
        positionBias = Parameter(rows: 1, columns: width, for: kind) {
            settings.deviation * generator.normalFloat()
        }
        dropout = Dropout(rate: settings.dropout, seed: generator.index(below: 1 << 30))
        positionDropout = Dropout(rate: settings.dropout, seed: generator.index(below: 1 << 30))
        self.settings = settings
        work = Work(settings)
    }

    /// The same weights, for another part of a batch.
    init(sharing other: RelativeAttention) {
        settings = other.settings
        query = Linear(sharing: other.query)
        keyAndValue = Linear(sharing: other.keyAndValue)
        position = Linear(sharing: other.position)
        output = Linear(sharing: other.output)
        contentBias = other.contentBias
        positionBias = other.positionBias
        dropout = other.dropout
        positionDropout = other.positionDropout
        work = Work(settings)
    }

    /// `queries`: the rows of x that ask, of `selected` sequences; nil: all do.
    func forward(
        _ x: RowBuffer,
        _ sequences: Sequences,
        queries: RowBuffer,
        _ selected: SelectedRows?,
        into y: RowBuffer,
        _ pass: TransformerPass
    ) {
        query.forward(queries, into: work.q, threads: 1)
        keyAndValue.forward(x, into: work.kv, threads: 1)
        place(reach: max(1, sequences.longest), pass)
        work.heads.resize(rows: queries.rows)
        work.logSums.resize(rows: queries.rows)
        unsafe withKernel(sequences, selected, pass) { kernel in
            unsafe larder_attend(kernel, 0, sequences.count, work.scratch.start)
        }
        output.forward(work.heads, into: y, threads: 1)
    }

    /// The gradients of what asked, added to `dQueries`, and of x: added to `dx`.
    func backward(
        _ gradient: RowBuffer,
        x: RowBuffer,
        _ sequences: Sequences,
        queries: RowBuffer,
        _ selected: SelectedRows?,
        dQueries: RowBuffer,
        dx: RowBuffer,
        _ pass: TransformerPass
    ) {
        output.backward(gradient, x: work.heads, y: gradient, into: work.dHeads, threads: 1)
        work.dq.resize(rows: queries.rows)
        work.dkv.resize(rows: x.rows)
        work.dPositions.resize(rows: work.positions.rows)
        for buffer in [work.dkv, work.dPositions, work.contentBias, work.positionBias] {
            buffer.clear()
        }
        unsafe withKernel(sequences, selected, pass) { kernel in
            var gradients = unsafe larder_attention_gradient(
                out: work.dHeads.start,
                q: work.dq.start,
                k: work.dkv.start,
                v: work.dkv.start + settings.width,
                positions: work.dPositions.start,
                content_bias: work.contentBias.start,
                position_bias: work.positionBias.start
            )
            unsafe larder_attend_back(kernel, &gradients, 0, sequences.count, work.scratch.start)
        }
        query.backward(work.dq, x: queries, y: work.dq, into: dQueries, adds: true, threads: 1)
        keyAndValue.backward(work.dkv, x: x, y: work.dkv, into: dx, adds: true, threads: 1)
        position.backward(work.dPositions, x: work.sines, y: work.dPositions, into: nil, threads: 1)
    }

    /// Makes r of all distances that sequences of up to `reach` rows have.
    private func place(reach: Int, _ pass: TransformerPass) {
        let rows = 2 * reach - 1
        let width = settings.width
        work.sines.resize(rows: rows)
        work.prepareWaves(reach: reach)
        let first = unsafe work.waves.row((work.waves.rows - rows) / 2)
        unsafe work.sines.start.update(from: first, count: rows * width)
        // A distance has the same dropout, however long the longest sequence is.
        var kernel = positionDropout.kernel(step: pass.step, first: (1 << 20) - reach)
        unsafe larder_dropout(&kernel, work.sines.start, rows, width)
        position.forward(work.sines, into: work.positions, threads: 1)
        // Kernels read up to a register beyond the last.
        if work.turned.columns != rows + 16 {
            work.turned = RowBuffer(rows: width, columns: rows + 16)
            work.offsets = RowBuffer(rows: settings.heads, columns: rows + 16)
        }
        for row in 0..<rows {
            let from = unsafe work.positions.row(row)
            for c in 0..<width { unsafe work.turned.row(c)[row] = from[c] }
        }
        let size = settings.headWidth
        let (u, w) = unsafe (contentBias.values.start, positionBias.values.start)
        for head in 0..<settings.heads {
            for row in 0..<rows {
                let from = unsafe work.positions.row(row)
                var sum: Float = 0
                for c in head * size..<(head + 1) * size { unsafe sum += (w[c] - u[c]) * from[c] }
                unsafe work.offsets.row(head)[row] = sum
            }
        }
    }

    private func withKernel(
        _ sequences: Sequences,
        _ selected: SelectedRows?,
        _ pass: TransformerPass,
        _ body: (UnsafePointer<larder_attention>) -> Void
    ) {
        let size = settings.headWidth
        let reach = max(1, sequences.longest)
        work.scratch.resize(rows: larder_attention_scratch(reach, size))
        unsafe sequences.offsets.withUnsafeBufferPointer { keys in
            unsafe (selected?.offsets ?? sequences.offsets).withUnsafeBufferPointer { queries in
                unsafe (selected?.positions ?? sequences.positions).withUnsafeBufferPointer { at in
                    var kernel = unsafe larder_attention(
                        q: work.q.start,
                        k: work.kv.start,
                        v: work.kv.start + settings.width,
                        q_stride: settings.width,
                        kv_stride: 2 * settings.width,
                        heads: settings.heads,
                        size: size,
                        position_rows: work.positions.start,
                        positions_turned: work.turned.start,
                        position_offsets: work.offsets.start,
                        position_stride: work.turned.columns,
                        reach: reach,
                        content_bias: contentBias.values.start,
                        position_bias: positionBias.values.start,
                        key_offsets: keys.baseAddress,
                        query_offsets: queries.baseAddress,
                        positions: at.baseAddress,
                        is_causal: settings.isCausal ? 1 : 0,
                        scale: 1 / Float(size).squareRoot(),
                        dropout: dropout.kernel(
                            step: pass.step,
                            first: selected == nil ? pass.firstRow : pass.firstSelected
                        ),
                        out: work.heads.start,
                        out_stride: settings.width,
                        log_sum: pass.isForBackward ? work.logSums.start : nil
                    )
                    unsafe body(&kernel)
                }
            }
        }
    }

    var gradients: [Gradient] {
        [query, keyAndValue, position, output].flatMap(\.gradients) + [
            Gradient(contentBias, work.contentBias),
            Gradient(positionBias, work.positionBias),
        ]
    }

    func parameters(_ name: String) -> [(name: String, parameter: Parameter)] {
        query.parameters(name + ".query") + keyAndValue.parameters(name + ".key-value")
            + position.parameters(name + ".position") + output.parameters(name + ".output") + [
                (name + ".content-bias", contentBias), (name + ".position-bias", positionBias),
            ]
    }
}
