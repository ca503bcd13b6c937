// SPDX-License-Identifier: Apache-2.0
private import CKernels
private import Executors

/// Rows of a table, one for each code; of a list of codes, the mean of their rows.
///
/// y[r] = Σ w[e] · E[code[e]] over the entries e of row r; E: codes × width. A single code has one
/// entry of weight one, a list of n has n of weight 1 / n, and an empty list is zeros. The gradient
/// is sparse: only rows that were used are moved, and each of them once a step.
@safe final class Embedding: Sendable {
    let table: Parameter
    let uses: RowUses

    var width: Int { table.columns }

    init(codes: Int, width: Int, for kind: OptimiserKind, _ next: () -> Float) {
        table = Parameter(rows: codes, columns: width, for: kind, next)
        uses = RowUses(count: codes)
    }

    /// The same table, for other rows at the same time.
    init(sharing other: Embedding) {
        table = other.table
        uses = RowUses(count: table.rows)
    }

    /// Takes the codes of a batch: one a row, or lists with rows + 1 offsets.
    func use(_ codes: some Collection<Int32>, offsets: [Int32]? = nil) {
        uses.use(codes, offsets: offsets)
    }

    /// Writes the columns of `y` from `column` on, of codes that need no gradient, or not yet.
    ///
    /// `offsets`: of lists, rows + 1 of them.
    func forward(
        _ codes: [Int32],
        offsets: [Int32]?,
        into y: RowBuffer,
        column: Int,
        threads: Int
    ) {
        let weights = offsets.map { RowUses.weights(of: $0) }
        parallelFor(y.rows, threads: threads, grain: 64) { rows, _ in
            unsafe larder_embed(
                table.values.start,
                width,
                codes,
                offsets,
                weights,
                y.start + column,
                y.columns,
                rows.lowerBound,
                rows.upperBound
            )
        }
    }

    /// Writes the columns of `y` from `column` on.
    func forward(into y: RowBuffer, column: Int, threads: Int) {
        parallelFor(y.rows, threads: threads, grain: 64) { rows, _ in
            unsafe larder_embed(
                table.values.start,
                width,
                uses.codes,
                uses.offsets.isEmpty ? nil : uses.offsets,
                uses.weights.isEmpty ? nil : uses.weights,
                y.start + column,
                y.columns,
                rows.lowerBound,
                rows.upperBound
            )
        }
    }

    /// Adds the gradients of the rows that were used to those of the whole table.
    ///
    /// `code`: a row whose uses count nothing.
    func add(_ gradient: RowBuffer, column: Int, to whole: RowBuffer, except code: Int32) {
        for row in uses.rows where row != code {
            let to = unsafe whole.row(Int(row))
            uses.forEachEntry(of: row) { owner, weight in
                let from = unsafe gradient.row(owner) + column
                for c in 0..<width { unsafe to[c] += weight * from[c] }
            }
        }
    }

    /// The sum of the squares of the rows' gradients.
    func squares(_ gradient: RowBuffer, column: Int) -> Double {
        var scratch = [Float](repeating: 0, count: width)
        return unsafe uses.withKernel { kernel in
            unsafe larder_row_squares(
                kernel,
                0,
                uses.rows.count,
                gradient.start + column,
                gradient.columns,
                width,
                &scratch
            )
        }
    }

    /// Moves the rows that were used by their part of the gradient of y.
    func update(_ gradient: RowBuffer, column: Int, _ optimiser: Optimiser, threads: Int) {
        parallelFor(uses.rows.count, threads: threads, grain: 64) { rows, _ in
            var scratch = [Float](repeating: 0, count: width)
            unsafe uses.withKernel { kernel in
                unsafe optimiser.withKernel { optimiser in
                    unsafe larder_update_rows(
                        optimiser,
                        kernel,
                        rows.lowerBound,
                        rows.upperBound,
                        gradient.start + column,
                        gradient.columns,
                        width,
                        table.values.start,
                        table.state.start,
                        &scratch
                    )
                }
            }
        }
    }
}
