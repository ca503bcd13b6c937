// SPDX-License-Identifier: Apache-2.0
import Dispatch
import Synchronization

/// Hands batches from the thread that makes them to the one that uses them, and back empty.
final class BatchQueue: Sendable {
    private struct State {
        var empty: [LoadedBatch]
        /// The oldest last.
        var full: [LoadedBatch] = []
        var isStopped = false
    }

    private let state: Mutex<State>
    // Made with 0: a semaphore may not go with less than it was made with.
    private let empties = DispatchSemaphore(value: 0)
    private let fulls = DispatchSemaphore(value: 0)

    init(capacity: Int, _ make: () -> LoadedBatch) {
        state = Mutex(State(empty: (0..<capacity).map { _ in make() }))
        for _ in 0..<capacity { empties.signal() }
    }

    /// Waits for one; nil when nobody wants batches any more.
    func takeEmpty() -> LoadedBatch? {
        empties.wait()
        return state.withLock { $0.isStopped ? nil : $0.empty.popLast() }
    }

    func giveFull(_ batch: LoadedBatch) {
        state.withLock { $0.full.insert(batch, at: 0) }
        fulls.signal()
    }

    /// Waits for the next one.
    func takeFull() -> LoadedBatch {
        fulls.wait()
        guard let batch = state.withLock({ $0.full.popLast() }) else {
            preconditionFailure("as many batches as signals")
        }
        return batch
    }

    func giveEmpty(_ batch: LoadedBatch) {
        state.withLock { $0.empty.append(batch) }
        empties.signal()
    }

    /// The maker is told the next time it asks.
    func stop() {
        state.withLock { $0.isStopped = true }
        empties.signal()
    }
}
