// SPDX-License-Identifier: Apache-2.0
private import Executors

/// y = x / |x|, row by row; rows of zeros stay zeros.
///
/// x, y: rows × columns.
@safe final class Normalise: @unchecked Sendable {
    /// 1 / |x| of each row of the last forward pass.
    private let inverse = RowBuffer(columns: 1)

    func forward(_ x: RowBuffer, into y: RowBuffer, threads: Int) {
        y.resize(rows: x.rows)
        inverse.resize(rows: x.rows)
        let columns = x.columns
        parallelFor(x.rows, threads: threads, grain: 256) { rows, _ in
            for row in rows {
                let (from, to) = unsafe (x.row(row), y.row(row))
                var squares: Float = 0
                for c in 0..<columns { unsafe squares += from[c] * from[c] }
                // A NaN goes on as one.
                let scale = squares == 0 ? 0 : 1 / squares.squareRoot()
                unsafe inverse.row(row)[0] = scale
                for c in 0..<columns { unsafe to[c] = from[c] * scale }
            }
        }
    }

    /// dx = (g − y (y · g)) / |x|, in place of g.
    func backward(_ gradient: RowBuffer, y: RowBuffer, threads: Int) {
        let columns = y.columns
        parallelFor(y.rows, threads: threads, grain: 256) { rows, _ in
            for row in rows {
                let (g, direction) = unsafe (gradient.row(row), y.row(row))
                var along: Float = 0
                for c in 0..<columns { unsafe along += g[c] * direction[c] }
                let scale = unsafe inverse.row(row)[0]
                for c in 0..<columns { unsafe g[c] = (g[c] - along * direction[c]) * scale }
            }
        }
    }
}
