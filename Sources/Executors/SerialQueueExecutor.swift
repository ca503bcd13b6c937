// SPDX-License-Identifier: Apache-2.0
// The one place where Larder makes threads for work that blocks or computes. Measured on two
// cores: with kernels on the cooperative pool or on a concurrent queue, a 50 ms heartbeat came
// up to 820 ms late; with kernels on serial queues, 64 ms.
import Dispatch

/// A private serial queue that runs an actor, or a whole task tree, off Swift's cooperative pool.
///
/// A blocking libpq or hiredis call, or a long kernel, then holds up its own queue and nothing
/// else. As a `TaskExecutor` it is one compute slot: everything the task does outside actors
/// with executors of their own runs here, one piece at a time.
package final class SerialQueueExecutor: SerialExecutor, TaskExecutor {
    private let queue: DispatchQueue

    package init(label: String) {
        queue = DispatchQueue(label: label)
    }

    package func enqueue(_ job: consuming ExecutorJob) {
        let job = UnownedJob(job)
        queue.async {
            unsafe job.runSynchronously(
                isolatedTo: self.asUnownedSerialExecutor(),
                taskExecutor: self.asUnownedTaskExecutor()
            )
        }
    }

    package func asUnownedSerialExecutor() -> UnownedSerialExecutor {
        unsafe UnownedSerialExecutor(ordinary: self)
    }
}
