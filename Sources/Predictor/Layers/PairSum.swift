// SPDX-License-Identifier: Apache-2.0
private import CKernels
private import Executors

/// y[e] = max(0, a[slot of e] + b[slot of e]): one row of each of two tables for each example.
enum PairSum {
    static func forward(
        _ a: RowBuffer,
        _ slotsOfA: [Int32],
        _ b: RowBuffer,
        _ slotsOfB: [Int32],
        into y: RowBuffer,
        threads: Int
    ) {
        precondition(slotsOfA.count == slotsOfB.count, "a pair of rows an example")
        y.resize(rows: slotsOfA.count)
        parallelFor(y.rows, threads: threads, grain: 64) { rows, _ in
            unsafe slotsOfA.withUnsafeBufferPointer { slotsOfA in
                unsafe slotsOfB.withUnsafeBufferPointer { slotsOfB in
                    guard let atA = slotsOfA.baseAddress, let atB = slotsOfB.baseAddress else {
                        return
                    }
                    unsafe larder_add_pairs(
                        a.start,
                        atA + rows.lowerBound,
                        b.start,
                        atB + rows.lowerBound,
                        rows.count,
                        y.columns,
                        y.row(rows.lowerBound)
                    )
                }
            }
        }
    }

    /// Clears the gradient of y where it was closed; what is left is that of both summands.
    static func backward(_ gradient: RowBuffer, y: RowBuffer, threads: Int) {
        parallelFor(y.rows, threads: threads, grain: 64) { rows, _ in
            unsafe larder_rectify_back(
                gradient.row(rows.lowerBound),
                y.row(rows.lowerBound),
                rows.count * y.columns
            )
        }
    }
}
