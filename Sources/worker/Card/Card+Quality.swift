// SPDX-License-Identifier: Apache-2.0
import Foundation
import Jobs
import Predictor

/// The sections of a card that say how good the lists are.
extension Card {
    var quality: HTML {
        guard let check = summary.check, let k = check.report.ks.first else { return "" }
        let report = check.report
        let plain = report.model.keys.filter { name in
            !name.contains("[") && !Behaviour.metrics.contains { name.hasPrefix($0 + "@") }
        }
        let others = report.systems.dropFirst()
        let rows = plain.sorted { order($0) < order($1) }.map { name -> [HTML] in
            ["\(name)", "\(Self.text(report.model[name]))"]
                + others.map { system -> HTML in
                    guard let theirs = system.metrics[name] else { return "" }
                    let words = ["more", "", "less"]
                    let word = words[1 + (system.differences[name]?.sign ?? 0)]
                    return """
                        \(String(format: "%.4f", theirs.value)) <span class="soft">\(word)</span>
                        """
                }
        }
        var notes: [HTML] = []
        if let cold = report.systems.first?.coldQueries, cold > 0 {
            notes.append(
                "<p>\(Output.count(cold)) of the queries are of ids that the model does not know; the popularity list answers them.</p>\n"
            )
        }
        if report.unknownTruths > 0 {
            notes.append(
                "<p>\(String(format: "%.1f", 100 * report.unknownTruths)) % of what came are items that the model does not know.</p>\n"
            )
        }
        if let why = check.withoutLive { notes.append("<p>\(why).</p>\n") }
        if let run = check.sameAsRun {
            notes.append("<p>Measured by run \(run), of the same.</p>\n")
        }
        if let rating = check.rating { notes.append("<p>\(rating.line).</p>\n") }
        return HTML.section(
            "Quality",
            """
            <p>On \(Output.count(report.queries)) queries kept back, all items ranked; intervals hold 95 %.</p>
            \(CardCharts.intervals(report, "ndcg@\(k)", model: model))\
            \(HTML.table("The model, and the figures of others; more or less where the difference is beyond its interval", ["metric", model] + others.map(\.name), rows, numbers: Set(1...report.systems.count)))\
            \(notes)
            """
        )
    }

    /// By length, then as the metrics are listed.
    private func order(_ name: String) -> Int {
        let parts = name.split(separator: "@")
        let place = EvaluationReport.metrics.firstIndex(of: String(parts[0])) ?? 99
        return (Int(parts.last ?? "") ?? 0) * 100 + place
    }

    var gates: HTML {
        var outcomes: [GateOutcome] = []
        if let check = summary.check {
            outcomes = pipeline.check.gates.filter { !$0.isOfLists }.map {
                $0.outcome(check.report, withoutLive: check.withoutLive)
            }
        }
        outcomes += summary.publish?.gates?.gates ?? []
        guard !outcomes.isEmpty else { return "" }
        let rows = outcomes.map { gate -> [HTML] in
            [
                "<code>\(gate.gate)</code>",
                gate.holds
                    ? "<span class=\"good\">holds</span>"
                    : "<strong class=\"bad\">refuses</strong>",
                "\(gate.finding)",
            ]
        }
        let forced: HTML = run.forced.map { "<p><strong>Forced:</strong> \($0)</p>\n" } ?? ""
        return HTML.section(
            "Gates",
            HTML.table("What must hold before lists go live", ["gate", "", "found"], rows) + forced
        )
    }

    var slices: HTML {
        guard let report = summary.check?.report else { return "" }
        let k = report.sliceK
        let asked = report.slices.filter { $0.queries > 0 }
        guard !asked.isEmpty else { return "" }
        let popularity = report.system(Baseline.popularity.rawValue)?.metrics
        let rows = asked.map { slice -> [HTML] in
            func figure(_ metric: String, _ metrics: [String: Estimate]?) -> HTML {
                "\(Self.text(metrics?["\(metric)@\(k)[\(slice.name)]"]))"
            }
            return [
                "\(slice.name)", "\(Output.count(slice.queries))", figure("hit-rate", report.model),
                figure("hit-rate", popularity), figure("ndcg", report.model),
                "\(slice.meaning ?? "")",
            ]
        }
        return HTML.section(
            "Slices",
            HTML.table(
                "Parts of the queries, and of what came",
                ["slice", "queries", "hit-rate@\(k)", "popularity", "ndcg@\(k)", "which are"],
                rows,
                numbers: [1, 2, 3, 4]
            )
        )
    }

    var behaviour: HTML {
        guard let report = summary.check?.report else { return "" }
        let figures = report.model.filter { name, _ in
            Behaviour.metrics.contains { name.hasPrefix($0 + "@") }
        }
        let rows = figures.sorted { $0.key < $1.key }.map { name, estimate -> [HTML] in
            ["\(name)", "\(Self.text(estimate))"]
        }
        let answers = report.answers.map { answer -> HTML in
            let rank = answer.rank.map { "found at \($0)" } ?? "missed"
            return """
                <div class="answer"><h3>\(answer.id): \(rank)</h3>
                <dl><dt>had</dt><dd>\(answer.history.joined(separator: ", "))</dd>
                <dt>came</dt><dd>\(answer.came.joined(separator: ", "))</dd>
                <dt>list</dt><dd>\(answer.list.joined(separator: ", "))</dd></dl></div>

                """
        }
        guard !rows.isEmpty || !answers.isEmpty else { return "" }
        let table: HTML = rows.isEmpty ? "" : HTML.table("How lists behave", ["", "figure"], rows)
        return HTML.section("Behaviour", "\(table)<div class=\"pair\">\n\(answers)</div>\n")
    }

    static func section(of hindsight: HindsightResult) -> HTML {
        guard !hindsight.days.isEmpty else { return "" }
        let k = hindsight.k
        let rows = hindsight.days.map { day -> [HTML] in
            [
                "\(day.day)", "\(day.release)", "\(Output.count(day.queries))",
                "\(String(format: "%.4f", day.hitRate))",
                "\(String(format: "%.4f", day.defaultHitRate))",
            ]
        }
        return HTML.section(
            "Hindsight",
            HTML.table(
                "What was served, against what came later: hit rate at \(k)",
                ["day", "release", "queries", "hit rate", "the default list's"],
                rows,
                numbers: [1, 2, 3, 4]
            )
        )
    }
}
