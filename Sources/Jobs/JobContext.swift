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
        /// The lease was lost, or may be: the job belongs to another worker, or to nobody.
        case revoked
        /// This worker is shutting down; the job will be given back.
        case draining
        /// It reported nothing for longer than its kind may.
        case stalled
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

    /// What was reported and not sent yet.
    struct Reports: Sendable {
        var progress: Progress?
        var checkpoint: String?
        var metrics: [Metric] = []
    }

    private struct State {
        var unsent = Reports()
        var progress: Progress?
        var lastReport: ContinuousClock.Instant = .now
        var stop: Stop?
    }
    private let state = Mutex(State())
    private let trust: Trust?

    package convenience init(_ job: Job) { self.init(job, trust: nil) }

    init(_ job: Job, trust: Trust?) {
        self.job = job
        self.trust = trust
    }

    /// `fraction` of the work done, 0 to 1.
    package func progress(_ fraction: Double, _ message: String) {
        let progress = Progress(fraction: fraction, message: message)
        state.withLock {
            $0.progress = progress
            $0.unsent.progress = progress
            $0.lastReport = .now
        }
    }

    /// Leaves a JSON object for the next attempt, which finds it as `job.checkpoint`, on whichever
    /// worker it runs.
    package func checkpoint(_ json: String) {
        state.withLock {
            $0.unsent.checkpoint = json
            $0.unsent.progress = $0.progress
            $0.lastReport = .now
        }
    }

    /// One point of a curve, such as the loss at a training step.
    package func metric(_ name: String, step: Int = 0, value: Double) {
        state.withLock {
            $0.unsent.metrics.append(Metric(name: name, step: step, value: value))
            $0.lastReport = .now
        }
    }

    package var stop: Stop? {
        if let stop = state.withLock({ $0.stop }) { return stop }
        return trust?.isOver == true ? .revoked : nil
    }

    /// To be called between pieces of work; throws `CancellationError` when it is time to stop.
    package func checkStop() throws {
        if stop != nil { throw CancellationError() }
    }

    /// The first reason stays: a job that lost its lease must not be released by a later drain.
    func requestStop(_ reason: Stop) {
        state.withLock { if $0.stop == nil { $0.stop = reason } }
    }

    var silence: Duration { ContinuousClock.now - state.withLock { $0.lastReport } }

    /// Takes reports back that could not be sent; what was reported since then stays newer.
    func putBack(_ reports: Reports) {
        state.withLock { state in
            state.unsent.progress = state.unsent.progress ?? reports.progress
            state.unsent.checkpoint = state.unsent.checkpoint ?? reports.checkpoint
            state.unsent.metrics = reports.metrics + state.unsent.metrics
        }
    }

    /// What was reported since the last call.
    func takeReports() -> Reports {
        state.withLock { state in
            defer { state.unsent = Reports() }
            return state.unsent
        }
    }
}
