// SPDX-License-Identifier: Apache-2.0
import Dispatch

/// Runs `lead` on this thread while `help` runs on others, `size - 1` of them, and returns when
/// all are done.
///
/// What they share tells the helpers when to stop: `stop` is called if `lead` throws.
package func team(
    of size: Int,
    lead: () throws -> Void,
    help: @escaping @Sendable () -> Void,
    stop: () -> Void
) throws {
    let helpers = DispatchGroup()
    for helper in 1..<max(1, size) {
        // A queue each: queues of one thread pool would share its threads.
        DispatchQueue(label: "larder.helper.\(helper)").async(group: helpers, execute: help)
    }
    defer { helpers.wait() }
    do {
        try lead()
    } catch {
        stop()
        throw error
    }
}
