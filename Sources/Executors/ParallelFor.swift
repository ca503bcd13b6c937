// SPDX-License-Identifier: Apache-2.0
import Dispatch

/// Cuts 0..<count into as many ranges as threads, and calls `body` with each on a thread of its
/// own, this one among them; with one thread, or nothing to share, at once.
///
/// `body` gets its range and the number of its thread; `grain` is the least that is worth a thread.
package func parallelFor(
    _ count: Int,
    threads: Int,
    grain: Int = 1,
    _ body: @Sendable (Range<Int>, Int) -> Void
) {
    let parts = max(1, min(threads, count / max(1, grain)))
    guard parts > 1 else { return body(0..<count, 0) }
    DispatchQueue.concurrentPerform(iterations: parts) { part in
        body(count * part / parts..<count * (part + 1) / parts, part)
    }
}
