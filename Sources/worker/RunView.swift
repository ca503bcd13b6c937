// SPDX-License-Identifier: Apache-2.0
import Foundation
import Glibc
import Jobs
import Predictor

/// A run while it works: a bar on a terminal, a line for each change in a log.
struct RunView {
    let model: String
    private var shown: [Int: String] = [:]
    private var lastBar = ""

    init(_ pipeline: Pipeline, run: Int) {
        model = pipeline.model.kind
        self.run = run
        feed = pipeline.feed
    }

    private let run: Int
    private let feed: String

    mutating func show(_ jobs: [Runs.JobRow]) {
        if shown.isEmpty { print("run \(run) of \"\(feed)\"") }
        var neverStarted: [String] = []
        for job in jobs where shown[job.id] != job.state {
            let before = shown.updateValue(job.state, forKey: job.id)
            guard
                ["succeeded", "failed", "cancelled"].contains(job.state)
                    || (before != nil && job.state == "scheduled")
            else { continue }
            if job.state == "cancelled" && job.seconds == nil {
                neverStarted.append(job.name)
                continue
            }
            clearBar()
            let name = job.name.padding(toLength: 14, withPad: " ", startingAt: 0)
            let attempts = job.attempt > 1 ? ", attempt \(job.attempt)" : ""
            let state = job.state == "scheduled" ? "will be tried again" : job.state
            print("  \(name) \(state) in \(Output.seconds(job.seconds ?? 0))\(attempts)")
            if let error = job.error, job.state != "succeeded" {
                print("    " + error.replacingOccurrences(of: "\n", with: "\n    "))
            }
        }
        if !neverStarted.isEmpty {
            clearBar()
            print("  not started: \(neverStarted.joined(separator: ", "))")
        }
        if Output.isTerminal { drawBar(jobs) }
        fflush(nil)
    }

    private mutating func drawBar(_ jobs: [Runs.JobRow]) {
        clearBar()
        guard let job = jobs.first(where: { $0.state == "running" }) else { return }
        let fraction = min(1, max(0, job.fraction ?? 0))
        let filled = Int(fraction * 24)
        lastBar =
            "  \(job.name.padding(toLength: 14, withPad: " ", startingAt: 0)) "
            + String(repeating: "█", count: filled) + String(repeating: "░", count: 24 - filled)
            + String(format: " %3d %% ", Int(fraction * 100)) + (job.message ?? "")
        print(lastBar, terminator: "\r")
    }

    private mutating func clearBar() {
        if !lastBar.isEmpty {
            print(String(repeating: " ", count: lastBar.count), terminator: "\r")
        }
        lastBar = ""
    }
}

/// A run that has ended, and how good its model is.
struct RunSummary: Encodable {
    let run: Runs.Run
    let jobs: [Runs.JobRow]
    let prepare: PrepareResult?
    let check: CheckResult?
    let publish: PublishResult?

    init(run: Runs.Run, jobs: [Runs.JobRow], results: RunResults) {
        self.run = run
        self.jobs = jobs
        // Absent where the run failed before: then there is nothing to show.
        prepare = try? results.get("prepare")
        check = try? results.get("check")
        publish = try? results.get("publish")
    }

    func show(model: String) {
        if let prepare { show(prepare) }
        if let check { show(check, model) }
        if let publish {
            print(
                """

                release \(publish.release) of "\(run.feed)" is live: \
                \(Output.count(publish.lists)) lists, \(Output.bytes(publish.bytes)) written\
                \(publish.cold > 0 ? "; \(Output.count(publish.cold)) ids unknown to the model get popular items" : "")
                """
            )
        }
        print("run \(run.id) \(run.state) in \(Output.seconds(run.seconds))")
    }

    private func show(_ prepare: PrepareResult) {
        print(
            """

            \(Output.count(prepare.events)) events of \(Output.count(prepare.users)) users and \
            \(Output.count(prepare.items)) items
            """
        )
        guard prepare.read.badRows > 0 else { return }
        print("\(Output.count(prepare.read.badRows)) rows could not be used:")
        for example in prepare.read.examples { print("  \(example)") }
    }

    private func show(_ check: CheckResult, _ model: String) {
        let report = check.report
        print("\nquality on \(Output.count(report.queries)) queries kept back, 95 % intervals")
        let names = check.ks.flatMap { k in
            ["hit-rate", "recall", "ndcg", "mrr"].map { "\($0)@\(k)" }
        }
        Output.table(
            ["", model, "popularity", ""],
            names.map { name in
                [
                    name, Self.text(report.model[name]), Self.text(report.popularity[name]),
                    report.verdict(name),
                ]
            } + [
                [
                    "coverage", String(format: "%.3f", report.coverage),
                    String(format: "%.3f", report.popularityCoverage), "",
                ]
            ]
        )
        if report.coldQueries > 0 {
            print(
                """
                \(Output.count(report.coldQueries)) of the queries are of ids the model does not \
                know; the popularity list answers them
                """
            )
        }
    }

    private static func text(_ estimate: Estimate?) -> String {
        guard let estimate else { return "" }
        return String(format: "%.4f [%.4f, %.4f]", estimate.value, estimate.low, estimate.high)
    }
}
