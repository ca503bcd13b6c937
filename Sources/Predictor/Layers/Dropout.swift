// SPDX-License-Identifier: Apache-2.0
import CKernels
private import Executors

/// y = x · m / (1 − rate), where m is 0 with the chance `rate`, else 1.
///
/// Srivastava et al. 2014. Which places are closed depends on the seed, the step and the place
/// only: a training that goes on from a checkpoint closes the same ones, with any number of threads.
struct Dropout: Sendable {
    let rate: Double
    let seed: Int

    /// Forward with x, and backward with the gradient of y: the same places, in place.
    func apply(to x: RowBuffer, step: Int, threads: Int) {
        guard rate > 0 else { return }
        parallelFor(x.rows, threads: threads, grain: 64) { rows, _ in
            var kernel = kernel(step: step, first: rows.lowerBound)
            unsafe larder_dropout(&kernel, x.row(rows.lowerBound), rows.count, x.columns)
        }
    }

    /// For kernels that close places themselves; without a step none is closed.
    ///
    /// `first`: the number of their first row.
    func kernel(step: Int?, first: Int) -> larder_dropout {
        guard let step, rate > 0 else { return .none }
        var generator = SeededGenerator(seed: seed, stream: step)
        return larder_dropout(
            seed: UInt32(truncatingIfNeeded: generator.next()),
            closed: UInt32(rate * 0x1p32),
            scale: Float(1 / (1 - rate)),
            first: first
        )
    }
}

extension larder_dropout {
    /// Nothing is closed.
    static let none = larder_dropout(seed: 0, closed: 0, scale: 1, first: 0)
}
