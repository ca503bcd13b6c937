// SPDX-License-Identifier: Apache-2.0
import Foundation
import Jobs
import Predictor

/// A run as commands print it.
extension RunSummary {
    func show() {
        if let prepare { show(prepare) }
        if let train { show(train) }
        if let hindsight { show(hindsight) }
        if let sweep = train?.sweep { show(sweep) }
        if let check { show(check) }
        if let gate { show(gate) }
        if let gates = publish?.gates { show(gates) }
        if let publish {
            print(
                """

                release \(publish.release) of "\(run.feed)" is live: \
                \(Output.count(publish.lists)) lists, \(Output.bytes(publish.bytes)) written\
                \(publish.cold > 0 ? "; \(Output.count(publish.cold)) ids unknown to the model get popular items" : "")
                """
            )
            if let churn = publish.churn { print("  " + churn.words) }
            if publish.isInTables == true {
                print(
                    "  compact lists take more memory than others here: Redis' hash-max-listpack-value is below their length"
                )
            }
        }
        for line in announcements.compactMap(\.announcement) { print(line) }
        print("run \(run.id) \(run.state) in \(Output.seconds(run.seconds))")
    }

    private func show(_ prepare: PrepareResult) {
        print(
            """

            \(Output.count(prepare.summary.events)) events of \(Output.count(prepare.summary.users)) users and \
            \(Output.count(prepare.summary.items)) items: dataset \(prepare.dataset.prefix(12))
            """
        )
        if let run = prepare.sameAsRun {
            print("  made of the same as run \(run), whose dataset it is")
        }
        if let users = prepare.newUsers, let items = prepare.newItems {
            print(
                "  the vocabulary goes on: \(Output.count(users)) new users, \(Output.count(items)) new items"
            )
        }
        if let last = prepare.startsAnew {
            print(
                """
                  the vocabulary begins anew: dataset \(last.prefix(12)), the feed's last, is gone, of \
                another version of larder, or of other columns
                """
            )
        }
        for line in prepare.summary.read.lines { print("  \(line)") }
        guard prepare.summary.read.badRows > 0 else { return }
        print("\(Output.count(prepare.summary.read.badRows)) rows could not be used:")
        for example in prepare.summary.read.examples { print("  \(example)") }
    }

    private func show(_ train: TrainResult) {
        guard let windows = train.outcome?.windows else { return }
        if let base = train.base { print("\ntraining goes on from model \(base.prefix(12))") }
        if let why = train.startsAnew { print("\ntraining begins anew: \(why)") }
        print(
            windows.isEmpty
                ? "\nno session began since then: nothing was learned before the check"
                : "\neach window, found by what was learned until then"
        )
        if !windows.isEmpty { Output.windows(windows) }
    }

    private func show(_ check: CheckResult) {
        let report = check.report
        let popularity = Baseline.popularity.rawValue
        if let run = check.sameAsRun { print("\nmeasured by run \(run), which had the same") }
        print("\nquality on \(Output.count(report.queries)) queries kept back, 95 % intervals")
        let names = report.ks.flatMap { k in
            ["hit-rate", "recall", "ndcg", "mrr", "coverage"].map { "\($0)@\(k)" }
        }
        Output.table(
            ["", model, popularity, ""],
            names.map { name in
                [
                    name, Self.text(report.model[name]),
                    Self.text(report.system(popularity)?.metrics[name]),
                    name.hasPrefix("coverage") ? "" : report.verdict(name, against: popularity),
                ]
            }
        )
        showOthers(report)
        if let cold = report.systems.first?.coldQueries, cold > 0 {
            print(
                """
                \(Output.count(cold)) of the queries are of ids the model does not \
                know; the popularity list answers them
                """
            )
        }
        if report.unknownTruths > 0 {
            print(
                String(
                    format: "%.1f %% of what came are items that the model does not know",
                    100 * report.unknownTruths
                )
            )
        }
        if let rating = check.rating { print(rating.line) }
        if let why = check.withoutLive { print(why) }
    }

    /// What else was asked the same, by one figure.
    private func showOthers(_ report: EvaluationReport) {
        let others = report.systems.dropFirst().filter { $0.name != Baseline.popularity.rawValue }
        guard !others.isEmpty, let k = report.ks.first else { return }
        let metric = "ndcg@\(k)"
        print()
        Output.table(
            ["beside", metric, "the model has more", ""],
            others.map { other in
                [
                    other.name, Self.text(other.metrics[metric]),
                    other.differences[metric].map {
                        String(format: "%+.4f [%+.4f, %+.4f]", $0.value, $0.low, $0.high)
                    } ?? "",
                    report.verdict(metric, against: other.name),
                ]
            }
        )
    }

    /// The last few days.
    private func show(_ hindsight: HindsightResult) {
        for note in hindsight.notes { print("\n\(note)") }
        guard !hindsight.days.isEmpty else { return }
        print("\nwhat was served, against what came since: hit rate at \(hindsight.k)")
        Output.table(
            ["day", "release", "queries", "hit rate", "the default list's"],
            hindsight.days.suffix(7).map { day in
                [
                    day.day, "\(day.release)", Output.count(day.queries),
                    String(format: "%.4f", day.hitRate),
                    String(format: "%.4f", day.defaultHitRate),
                ]
            }
        )
    }

    private func show(_ sweep: SweepReport) {
        print("\narms by \(sweep.metric) on the validation part")
        Output.table(
            ["arm", "settings", sweep.metric, "", "took", "CPU", "memory", ""],
            sweep.arms.map { arm in
                [
                    "\(arm.number)", arm.name, Self.text(arm.estimate), arm.fate,
                    arm.cost.map { Output.seconds($0.seconds) } ?? "",
                    arm.cost.map { Output.seconds($0.cpuSeconds) } ?? "",
                    arm.cost.map { String(format: "%.0f MiB", $0.peakMiB) } ?? "",
                    arm.sameAsRun.map { "as in run \($0)" } ?? "",
                ]
            }
        )
        if let next = sweep.next, let ahead = sweep.ahead {
            print(
                String(
                    format:
                        "arm %d is ahead of arm %d by %.4f [%.4f, %.4f], with probability %.2f%@",
                    sweep.chosen,
                    next,
                    ahead.value,
                    ahead.low,
                    ahead.high,
                    ahead.probability,
                    ahead.sign == 0 ? ": they cannot be told apart" : ""
                )
            )
        }
    }

    private func show(_ gate: GateResult) {
        print()
        Output.table(
            ["gate", "", "found"],
            gate.gates.map { [$0.gate, $0.holds ? "holds" : "refuses", $0.finding] }
        )
        if let reason = gate.forced { print("forced: \(reason)") }
    }

    /// What a run that is watched does not print: slices, behaviour, and some lists.
    func showDetails() {
        guard let report = check?.report else { return }
        if !report.slices.isEmpty { showSlices(report) }
        let behaviour = report.model.filter { metric, _ in
            Behaviour.metrics.contains { metric.hasPrefix($0) }
        }
        if !behaviour.isEmpty {
            print()
            Output.table(
                ["behaviour", ""],
                behaviour.sorted { $0.key < $1.key }.map { [$0.key, Self.text($0.value)] }
            )
        }
        for answer in report.answers {
            let rank = answer.rank.map { "found at \($0)" } ?? "missed"
            print(
                """

                \(answer.id): \(rank)
                  had   \(answer.history.joined(separator: ", "))
                  came  \(answer.came.joined(separator: ", "))
                  list  \(answer.list.joined(separator: ", "))
                """
            )
        }
        print()
    }

    private func showSlices(_ report: EvaluationReport) {
        let metric = "hit-rate@\(report.sliceK)"
        let popularity = report.system(Baseline.popularity.rawValue)
        print()
        Output.table(
            ["slice", "queries", metric, "popularity", ""],
            report.slices.filter { $0.queries > 0 }.map { slice in
                let name = "\(metric)[\(slice.name)]"
                return [
                    slice.name, Output.count(slice.queries), Self.text(report.model[name]),
                    Self.text(popularity?.metrics[name]), slice.meaning ?? "",
                ]
            }
        )
    }

    private static func text(_ estimate: Estimate?) -> String {
        guard let estimate else { return "" }
        return String(format: "%.4f [%.4f, %.4f]", estimate.value, estimate.low, estimate.high)
    }
}

extension Runs.JobRow {
    /// Of a job that tells others of a run: whom it told, or why not.
    fileprivate var announcement: String? {
        if state != "succeeded", let error {
            let fate =
                state == "failed" || state == "cancelled"
                ? "`larder jobs retry \(id)` tries it again" : "it will be tried again"
            return "not told: \(error)\n  \(fate)"
        }
        let said = Data((result ?? checkpoint ?? "").utf8)
        if let progress = try? JSONDecoder().decode(TrackStep.Progress.self, from: said) {
            return "tracked at \(progress.address)" + (progress.note.map { "\n  \($0)" } ?? "")
        }
        if let told = try? JSONDecoder().decode(NotifyStep.Outcome.self, from: said), told.isSent {
            return "told \(told.receiver) of run.\(told.event.rawValue)"
        }
        return nil
    }
}

extension Output {
    /// A row a window.
    static func windows(_ windows: [WindowReport]) {
        let k = WindowReport.k
        Output.table(
            [
                "window", "sessions", "loss", "ndcg@\(k)", "recall@\(k)", "popularity: ndcg@\(k)",
                "recall@\(k)",
            ],
            windows.map { window in
                [
                    window.day, Output.count(window.sessions),
                ]
                    + (window.found.map { found in
                        [
                            found.loss, found.ndcg, found.recall, found.popularityNDCG,
                            found.popularityRecall,
                        ].map { number in number.map { String(format: "%.4f", $0) } ?? "" }
                    } ?? ["", "", "", "", ""])
            }
        )
    }
}

extension WindowReport {
    /// When it begins, in UTC.
    fileprivate var day: String {
        let text = Date(timeIntervalSince1970: TimeInterval(start))
            .formatted(.iso8601.year().month().day().time(includingFractionalSeconds: false))
        return text.hasSuffix("T00:00:00") ? String(text.prefix(10)) : text
    }
}

extension RatingReport {
    /// For people.
    var line: String {
        String(
            format: """
                the ranking on %@ examples kept back: AUC %.4f, log loss %.4f (%.4f for the mean of \
                all), calibration %.3f
                """,
            Output.count(examples),
            auc,
            logLoss,
            meanLogLoss,
            calibration
        )
    }
}
