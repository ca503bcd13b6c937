// SPDX-License-Identifier: Apache-2.0
private import Synchronization

/// What a job's work sees of the queue: where it reports, and whether it should stop.
///
/// All calls return at once, so that a kernel can make them between two mini-batches; the runner
/// sends what was reported once a second.
package final class JobContext: Sendable {
    package let job: Job

    package enum Stop: Sendable {
        /// Someone cancelled the job.
        case cancelled
        /// The lease was lost: the job belongs to another worker, or to nobody.
        case revoked
        /// This worker is shutting down; the job will be given back.
        case draining
    }

    struct Metric: Sendable {
        let name: String
        let step: Int
        let value: Double
    }

    struct Progress: Sendable {
        let fraction: Double
        let message: String
    }

    private struct State {
        var progress: Progress?
        var metrics: [Metric] = []
        var stop: Stop?
    }
    private let state = Mutex(State())

    package init(_ job: Job) { self.job = job }

    /// `fraction` of the work done, 0 to 1.
    package func progress(_ fraction: Double, _ message: String) {
        state.withLock { $0.progress = Progress(fraction: fraction, message: message) }
    }

    /// One point of a curve, such as the loss at a training step.
    package func metric(_ name: String, step: Int = 0, value: Double) {
        state.withLock { $0.metrics.append(Metric(name: name, step: step, value: value)) }
    }

    package var stop: Stop? { state.withLock { $0.stop } }

    /// To be called between pieces of work; throws `CancellationError` when it is time to stop.
    package func checkStop() throws {
        if stop != nil { throw CancellationError() }
    }

    /// The first reason stays: a job that lost its lease must not be released by a later drain.
    func requestStop(_ reason: Stop) {
        state.withLock { if $0.stop == nil { $0.stop = reason } }
    }

    /// What was reported since the last call.
    func takeReports() -> (progress: Progress?, metrics: [Metric]) {
        state.withLock { state in
            defer {
                state.progress = nil
                state.metrics = []
            }
            return (state.progress, state.metrics)
        }
    }
}
