// SPDX-License-Identifier: Apache-2.0
import Foundation
import Jobs
import Predictor

/// Tells how a network's training goes: progress for people, metrics for Postgres.
struct TrainingMeter {
    private let input: StepInput
    private let epochs: Int
    /// What the validation part is measured by.
    private let validation: String
    private let clock = ContinuousClock()
    private var lastPoint: ContinuousClock.Instant
    /// Since the last point.
    private var examples = 0
    private var loss = 0.0
    private var windowTold = 0

    init(_ input: StepInput, epochs: Int, validation: String) {
        self.input = input
        self.epochs = epochs
        self.validation = validation
        lastPoint = clock.now
    }

    /// Throws when the job is to stop.
    mutating func report(_ progress: TrainingProgress) throws {
        examples += progress.examples
        loss += progress.loss * Double(progress.examples)
        let name = input.job.name
        if let value = progress.validation {
            input.context.metric(
                "\(name)/validation-\(validation)",
                step: progress.step,
                value: value
            )
        }
        if let window = progress.window, window.number != windowTold {
            windowTold = window.number
            report(window.report)
        }
        try input.context.checkStop()
        let now = clock.now
        let isEnd = progress.fraction == 1
        guard now - lastPoint > .seconds(1) || isEnd || progress.validation != nil else { return }
        let mean = loss / Double(max(1, examples))
        let speed = Double(examples) / max(1e-9, (now - lastPoint) / .seconds(1))
        var message =
            progress.window.map { "window \($0.number) of \($0.count), " } ?? ""
        message +=
            "epoch \(progress.epoch) of \(epochs), loss \(String(format: "%.4f", mean))"
        if let best = progress.best {
            message += ", best \(validation) \(String(format: "%.4f", best))"
        }
        message += ", \(Int(speed / 1000))k examples/s"
        if let device = progress.device { message += " on \(device)" }
        input.context.progress(progress.fraction, message)
        input.context.metric("\(name)/loss", step: progress.step, value: mean)
        input.context.metric("\(name)/examples-per-second", step: progress.step, value: speed)
        (lastPoint, examples, loss) = (now, 0, 0)
    }

    /// What a window that was not learned from yet was found to be; its step is when it begins.
    private func report(_ report: WindowReport) {
        guard let found = report.found else { return }
        let k = WindowReport.k
        for case (let name, let value?) in [
            ("loss", found.loss), ("ndcg@\(k)", found.ndcg), ("recall@\(k)", found.recall),
            ("popularity-ndcg@\(k)", found.popularityNDCG),
            ("popularity-recall@\(k)", found.popularityRecall),
        ] {
            input.context.metric(
                "\(input.job.name)/window-\(name)",
                step: report.start,
                value: value
            )
        }
    }
}
