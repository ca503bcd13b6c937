// SPDX-License-Identifier: Apache-2.0
import Foundation
import Glibc
import Jobs

/// A run while it works: a bar on a terminal, a line for each change in a log.
struct RunView {
    private var shown: [Int: String] = [:]
    private var lastBar = ""

    init(feed: String, run: Int) {
        self.feed = feed
        self.run = run
    }

    private let run: Int
    private let feed: String

    mutating func show(_ jobs: [Runs.JobRow]) {
        if shown.isEmpty { print("run \(run) of \"\(feed)\"") }
        var neverStarted: [String] = []
        for job in jobs where shown[job.id] != job.state {
            let before = shown.updateValue(job.state, forKey: job.id)
            guard
                job.hasEnded
                    || (before != nil && job.state == "scheduled")
            else { continue }
            if job.state == "cancelled" && job.seconds == nil {
                neverStarted.append(job.name)
                continue
            }
            clearBar()
            let name = Self.padded(job.name)
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
            "  \(Self.padded(job.name)) "
            + String(repeating: "█", count: filled) + String(repeating: "░", count: 24 - filled)
            + String(format: " %3d %% ", Int(fraction * 100)) + (job.message ?? "")
        print(lastBar, terminator: "\r")
    }

    /// Beside each other as far as names are short, and never cut.
    private static func padded(_ name: String) -> String {
        name + String(repeating: " ", count: max(0, 14 - name.count))
    }

    private mutating func clearBar() {
        if !lastBar.isEmpty {
            print(String(repeating: " ", count: lastBar.count), terminator: "\r")
        }
        lastBar = ""
    }
}
