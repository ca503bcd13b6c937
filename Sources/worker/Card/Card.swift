// SPDX-License-Identifier: Apache-2.0
import Foundation
import Jobs
import Predictor
import Tables

/// One run as one page: a file that needs no other and no network.
struct Card {
    let summary: RunSummary
    let pipeline: Pipeline
    let metrics: [String: [Runs.Point]]

    init(_ run: Int, _ services: Services) async throws {
        try await self.init(RunSummary(run, services), services)
    }

    init(_ summary: RunSummary, _ services: Services) async throws {
        guard let pipeline = summary.pipeline else {
            throw SettingsError("run \(summary.run.id) is of another version of larder")
        }
        self.summary = summary
        self.pipeline = pipeline
        metrics = try await services.runs.metrics(of: summary.run.id)
    }

    var run: Runs.Run { summary.run }
    var model: String { summary.model }

    static func text(_ estimate: Estimate?) -> String {
        guard let estimate else { return "" }
        if estimate.low == estimate.high { return String(format: "%.4f", estimate.value) }
        return String(format: "%.4f (%.4f to %.4f)", estimate.value, estimate.low, estimate.high)
    }

    var page: HTML {
        """
        <!doctype html>
        <html lang="en">
        <head>
        <meta charset="utf-8">
        <meta name="viewport" content="width=device-width, initial-scale=1">
        <title>Run \(run.id) of \(run.feed)</title>
        <style>
        \(PageStyle.css)
        </style>
        </head>
        <body>
        <main>
        \(head)\(HTML.section("Steps", CardCharts.timeline(summary.jobs) + errors))\(findings)</main>
        </body>
        </html>

        """
    }

    /// Everything but the steps.
    var findings: HTML {
        "\(dataset)\(sweep)\(curves)\(quality)\(gates)\(slices)\(behaviour)\(summary.hindsight.map(Self.section) ?? "")\(lineage)"
    }

    /// Of a hundred thousand shards, all may have failed.
    private static let mostNamed = 20

    // MARK: head

    var head: HTML {
        let state: HTML = run.state == "failed" || run.state == "cancelled" ? "bad" : "good"
        return """
            <header>
            <h1>Run \(run.id) of \(run.feed)</h1>
            <p class="soft">\(model), lists for \(pipeline.predict.listsFor); started \(run.createdAt)</p>
            <p class="lead"><strong class="\(state)">\(run.state)</strong> \(run.state == "running" ? "since" : "in") \(Output.seconds(run.seconds))\(live)</p>
            \(verdict)</header>

            """
    }

    var live: HTML {
        guard let publish = summary.publish else { return "" }
        return
            ": release \(publish.release), \(Output.count(publish.lists)) lists, \(Output.bytes(publish.bytes))"
    }

    var verdict: HTML {
        guard let report = summary.check?.report, let k = report.ks.first else {
            return "<p>Nothing has been measured.</p>\n"
        }
        return "<p>\(report.verdicts("ndcg@\(k)"))</p>\n"
    }

    var errors: HTML {
        let failed = summary.jobs.filter { $0.state == "failed" }
        let pieces = failed.prefix(Self.mostNamed).map { job -> HTML in
            "<h3>\(job.name) failed</h3>\n\(HTML.verbatim(job.error ?? ""))"
        }
        let more: HTML =
            failed.count > pieces.count ? "<p>\(failed.count) jobs failed in all.</p>\n" : ""
        let idle = summary.jobs.filter { $0.started == nil }.map(\.name)
        let names = idle.prefix(Self.mostNamed).joined(separator: ", ")
        let others = idle.count > Self.mostNamed ? " and \(idle.count - Self.mostNamed) more" : ""
        let rest: HTML = idle.isEmpty ? "" : "<p>Not started: \(names)\(others).</p>\n"
        return "\(pieces)\(more)\(rest)"
    }

    // MARK: data

    var dataset: HTML {
        guard let prepare = summary.prepare else { return "" }
        let summary = prepare.summary
        var notes = summary.read.lines
        if let run = prepare.sameAsRun { notes.append("made by run \(run), of the same") }
        if summary.read.badRows > 0 {
            notes.append("\(Output.count(summary.read.badRows)) rows could not be used:")
            notes += summary.read.examples
        }
        return HTML.section(
            "Data",
            """
            <p>\(Output.count(summary.events)) events of \(Output.count(summary.users)) users and \(Output.count(summary.items)) items, from \(pipeline.dataset.source.name).</p>
            \(HTML.verbatim(notes.joined(separator: "\n")))
            """
        )
    }

    // MARK: sweep and training

    var sweep: HTML {
        guard let sweep = summary.train?.sweep else { return "" }
        let rows = sweep.arms.map { arm -> [HTML] in
            let cost = arm.cost
            return [
                "\(arm.number)", "\(arm.name)", "\(Self.text(arm.estimate))",
                arm.fate == "chosen" ? "<strong class=\"good\">chosen</strong>" : "\(arm.fate)",
                "\(cost.map { Output.seconds($0.seconds) } ?? "")",
                "\(cost.map { Output.seconds($0.cpuSeconds) } ?? "")",
                "\(cost.map { String(format: "%.0f MiB", $0.peakMiB) } ?? "")",
                "\(arm.sameAsRun.map { "run \($0)" } ?? "")",
            ]
        }
        return HTML.section(
            "Sweep",
            HTML.table(
                "Arms, by \(sweep.metric) on the validation part",
                ["arm", "settings", sweep.metric, "", "took", "CPU", "memory", "done by"],
                rows,
                numbers: [2, 4, 5, 6]
            ) + ahead(sweep)
        )
    }

    func ahead(_ sweep: SweepReport) -> HTML {
        guard let next = sweep.next, let ahead = sweep.ahead else { return "" }
        let difference = String(
            format: "%.4f (%.4f to %.4f), with probability %.2f",
            ahead.value,
            ahead.low,
            ahead.high,
            ahead.probability
        )
        return """
            <p>Arm \(sweep.chosen) is ahead of arm \(next) by \(difference)\(ahead.sign == 0 ? ": they cannot be told apart" : "").</p>

            """
    }

    var curves: HTML {
        // `train 3/9 round 2/loss`: what is drawn is behind the last slash, whose it is before it.
        // A round goes on where the one before ended: one curve.
        var drawn: [String: [String: [Runs.Point]]] = [:]
        for (name, points) in metrics {
            guard let slash = name.lastIndex(of: "/"),
                name.hasPrefix("train") || name.hasPrefix("refit")
            else { continue }
            let kind = String(name[name.index(after: slash)...])
            if kind.hasSuffix("per-second") { continue }
            let whose = String(name[..<slash]).split(separator: " round ")[0]
            drawn[kind, default: [:]][String(whose), default: []] += points
        }
        let charts = drawn.sorted { $0.key < $1.key }.map { kind, curves in
            CardCharts.curves(
                kind,
                curves.sorted { $0.key < $1.key }.map { name, points in
                    (name, points.sorted { $0.step < $1.step })
                }
            )
        }
        .filter { !$0.isEmpty }
        return charts.isEmpty ? "" : HTML.section("Training", "\(charts)")
    }

    // MARK: lineage

    var lineage: HTML {
        var rows: [(String, String)] = []
        if let prepare = summary.prepare { rows.append(("dataset", prepare.dataset)) }
        if let train = summary.train {
            rows.append(("model that was measured", train.model))
            if let base = train.base { rows.append(("trained on from", base)) }
        }
        if let refit = summary.refit { rows.append(("model that is served", refit.model)) }
        if let check = summary.check { rows.append(("report", check.figures)) }
        if let release = summary.publish?.release {
            rows.append(("release", "\(release) of \(run.feed)"))
            rows.append(("to make it again", "larder reproduce \(run.feed) \(release)"))
        }
        let items = rows.map { name, value -> HTML in
            "<dt>\(name)</dt><dd><code>\(value)</code></dd>\n"
        }
        return HTML.section(
            "Lineage",
            """
            <dl>
            \(items)</dl>
            <details><summary>All settings</summary>
            <pre>\(settings)</pre></details>

            """
        )
    }

    private var settings: String {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.prettyPrinted, .sortedKeys, .withoutEscapingSlashes]
        return (try? encoder.encode(pipeline.shareable)).map { String(decoding: $0, as: UTF8.self) }
            ?? ""
    }
}

extension HTML {
    static func + (a: HTML, b: HTML) -> HTML { "\(a)\(b)" }
}
