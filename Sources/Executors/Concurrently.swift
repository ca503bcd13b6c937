// SPDX-License-Identifier: Apache-2.0
import Dispatch
import Synchronization

/// Runs `body(0)` … `body(count - 1)` on several threads, this one among them, and throws the
/// first error when all have returned.
///
/// It is not promised that they run at the same time: none may wait for a later one.
package func concurrently(
    _ count: Int,
    _ body: @Sendable (Int) throws -> Void
) throws {
    let failure = Mutex<(any Error)?>(nil)
    DispatchQueue.concurrentPerform(iterations: count) { part in
        do {
            try body(part)
        } catch {
            failure.withLock { $0 = $0 ?? error }
        }
    }
    if let error = failure.withLock({ $0 }) { throw error }
}
