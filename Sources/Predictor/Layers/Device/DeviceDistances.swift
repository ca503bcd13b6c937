// SPDX-License-Identifier: Apache-2.0
import CUDA

/// The part of `RelativeAttention` that depends on the distance of query and key, (q + w) · rᵀ, on a device: matrix
/// products, a head after the other.
final class DeviceDistances {
    private let attention: RelativeAttention
    private let layers: DeviceLayers
    private let room: DeviceAttentionRoom
    private let position: DeviceLinear
    private let bias: DeviceParameter
    private let biasGradient: DeviceMatrix

    /// Of the distances that there are, some places closed.
    private let sines: DeviceMatrix
    /// A row for each distance.
    private let r: DeviceMatrix
    /// q + w.
    private let asked: DeviceMatrix
    private let dr: DeviceMatrix
    /// How much all queries of a head want of each distance.
    private let wanted: DeviceMatrix

    private var headCount: Int { attention.settings.heads }
    private var size: Int { attention.settings.headWidth }

    init(
        _ attention: RelativeAttention,
        _ layers: DeviceLayers,
        _ room: DeviceAttentionRoom
    ) throws(CUDAError) {
        self.attention = attention
        self.layers = layers
        self.room = room
        let width = attention.settings.width
        position = try DeviceLinear(attention.position, layers)
        bias = try DeviceParameter(attention.positionBias, layers)
        biasGradient = try layers.matrix(rows: 1, columns: width)
        sines = try layers.matrix(columns: width)
        r = try layers.matrix(columns: width)
        asked = try layers.matrix(columns: width)
        dr = try layers.matrix(columns: width)
        wanted = try layers.matrix(columns: 1)
    }

    var parameters: [DeviceParameter] { position.parameters + [bias] }
    var gradients: [DeviceParameter.Gradient] {
        position.gradients + [DeviceParameter.Gradient(parameter: bias, pieces: biasGradient)]
    }

    /// How many there are.
    var count: Int { r.rows }

    /// Takes the queries of a pass over sequences of up to `reach` rows: of these r has the distances from the greatest
    /// down, and those that lie ahead only where they are seen.
    func begin(_ q: DeviceMatrix, reach: Int, step: Int) throws(CUDAError) {
        let waves = try room.waves(reach: reach, width: attention.settings.width)
        let count = attention.settings.isCausal ? reach : 2 * reach - 1
        let first = waves.reach - reach
        try sines.resize(rows: count)
        // A distance has the same dropout, however long the longest sequence is.
        try layers.rows.copy(
            waves.matrix,
            first..<first + count,
            into: sines,
            attention.positionDropout.kernel(step: step, first: (1 << 20) - reach)
        )
        try position.forward(sines, into: r)
        try layers.rows.addBias(bias, to: q, into: asked, rectifies: false)
    }

    /// Makes `byDistance` of some queries.
    func ask(_ queries: Range<Int>) throws(CUDAError) {
        try room.byDistance.resize(rows: headCount * queries.count * count)
        for head in 0..<headCount {
            try layers.products.multiply(
                operand(asked, queries, head: head),
                operand(r, head: head).transposed,
                into: scores(queries.count, head: head)
            )
        }
    }

    /// From the gradients of the scores, which `byDistance` then has, those of r, of w, and, added to it, that of q.
    ///
    /// `adds`: to those of other queries.
    func answer(_ queries: Range<Int>, into dq: DeviceMatrix, adds: Bool) throws(CUDAError) {
        try dr.resize(rows: count)
        try wanted.resize(rows: count)
        for head in 0..<headCount {
            let scores = scores(queries.count, head: head)
            let r = operand(r, head: head)
            let own = operand(dq, queries, head: head)
            try layers.products.multiply(scores, r, adds: true, into: own)
            try layers.products.multiply(
                scores.transposed,
                operand(asked, queries, head: head),
                adds: adds,
                into: operand(dr, head: head)
            )
            let column = wanted.operand()
            let ones = try layers.ones(queries.count)
            try layers.products.multiply(scores.transposed, ones, into: column)
            try layers.products.multiply(
                column.transposed,
                r,
                adds: adds,
                into: operand(biasGradient, head: head)
            )
        }
    }

    /// When all queries have been answered.
    func finish() throws(CUDAError) {
        try position.backward(dr, x: sines, y: dr, into: nil)
    }

    /// A head's columns of some rows, or of all.
    private func operand(
        _ matrix: DeviceMatrix,
        _ rows: Range<Int>? = nil,
        head: Int
    ) -> MatrixProducts.Operand {
        let rows = rows ?? 0..<matrix.rows
        return MatrixProducts.Operand(
            matrix.array,
            from: rows.lowerBound * matrix.columns + head * size,
            rows: rows.count,
            columns: size,
            stride: matrix.columns
        )
    }

    private func scores(_ queries: Int, head: Int) -> MatrixProducts.Operand {
        MatrixProducts.Operand(
            room.byDistance.array,
            from: head * queries * count,
            rows: queries,
            columns: count
        )
    }
}
