// SPDX-License-Identifier: Apache-2.0
import Foundation
import Jobs
import Predictor

/// Drawings of a card: each says in words what it shows, for those who do not see it.
enum CardCharts {
    private static let width = 720.0

    private static func svg(_ height: Double, _ label: String, _ body: HTML) -> HTML {
        """
        <div class="scroll" tabindex="0" role="region" aria-label="drawing"><svg viewBox="0 0 \(Int(width)) \(Int(height.rounded(.up)))" role="img" aria-label="\(label)">
        \(body)</svg></div>

        """
    }

    private static func at(_ number: Double) -> String { String(format: "%.1f", number) }

    // MARK: steps

    private struct Bar {
        var name: String
        var state: String
        var start: Double
        var seconds: Double

        init?(_ job: Runs.JobRow) {
            guard let start = job.started else { return nil }
            (name, state, self.start, seconds) = (job.name, job.state, start, job.seconds ?? 0)
        }

        /// Jobs that share their work: from the first's beginning to the last's end.
        init?(_ jobs: [Runs.JobRow], name: String) {
            let bars = jobs.compactMap { Bar($0) }
            guard let start = bars.map(\.start).min(),
                let end = bars.map({ $0.start + $0.seconds }).max()
            else { return nil }
            self.name = name
            state = bars.first { $0.state != "succeeded" }?.state ?? "succeeded"
            self.start = start
            seconds = end - start
        }
    }

    /// Shards that have a bar each; of more, which may be a hundred thousand, all have one.
    private static let mostShards = 8

    /// A bar a job, from when it began to when it ended.
    static func timeline(_ jobs: [Runs.JobRow]) -> HTML {
        let shards = jobs.filter { $0.kind == "predict" && $0.name != "predict" }
        let isMany = shards.count > mostShards
        var bars = jobs.filter { !isMany || !($0.kind == "predict" && $0.name != "predict") }
            .compactMap { Bar($0) }
        if isMany, let all = Bar(shards, name: "predict, \(shards.count) shards") {
            bars.append(all)
            bars.sort { $0.start < $1.start }
        }
        guard let start = bars.map(\.start).min() else { return "" }
        let end = bars.map { $0.start + $0.seconds }.max() ?? start
        let scale = (width - 260) / max(end - start, 1e-3)
        let rows = bars.enumerated().map { place, bar -> HTML in
            let y = Double(place) * 20
            let x = 160 + (bar.start - start) * scale
            let length = max(2, bar.seconds * scale)
            let kind: HTML = bar.state == "succeeded" ? "ours" : "failed"
            return """
                <text x="0" y="\(at(y + 14))">\(bar.name)</text>
                <rect class="\(kind)" x="\(at(x))" y="\(at(y + 4))" width="\(at(length))" height="12" rx="2"/>
                <text class="soft" x="\(at(x + length + 6))" y="\(at(y + 14))">\(Output.seconds(bar.seconds))</text>

                """
        }
        let words = bars.map { "\($0.name) \($0.state) in \(Output.seconds($0.seconds))" }
        return svg(
            Double(bars.count) * 20 + 4,
            "Steps: " + words.joined(separator: ", "),
            "\(rows)"
        )
    }

    // MARK: figures

    /// A figure and its interval for each system.
    static func intervals(_ report: EvaluationReport, _ metric: String, model: String) -> HTML {
        let systems = report.systems.compactMap { system in
            system.metrics[metric].map { (system.name, $0) }
        }
        let most = systems.map(\.1.high).max() ?? 0
        guard most > 0 else { return "" }
        let scale = (width - 330) / most
        let rows = systems.enumerated().map { place, system -> HTML in
            let (name, estimate) = system
            let y = Double(place) * 24 + 14
            let kind: HTML = name == EvaluationReport.model ? "ours" : "theirs"
            func x(_ value: Double) -> String { at(160 + max(0, value) * scale) }
            return """
                <text x="0" y="\(at(y + 4))">\(name == EvaluationReport.model ? model : name)</text>
                <line class="\(kind)" stroke-width="2" x1="\(x(estimate.low))" x2="\(x(estimate.high))" y1="\(at(y))" y2="\(at(y))"/>
                <circle class="\(kind)" cx="\(x(estimate.value))" cy="\(at(y))" r="4.5"/>
                <text class="soft" x="\(at(160 + estimate.high * scale + 10))" y="\(at(y + 4))">\(Card.text(estimate))</text>

                """
        }
        let words = systems.map { "\($0.0) \(Card.text($0.1))" }.joined(separator: ", ")
        return svg(Double(systems.count) * 24 + 8, "\(metric): \(words)", "\(rows)")
    }

    // MARK: curves

    /// Some curves over one axis of steps, in each as many points as can be told apart.
    static func curves(_ title: String, _ curves: [(name: String, points: [Runs.Point])]) -> HTML {
        let drawn = curves.filter { $0.points.count > 1 }
        let points = drawn.flatMap(\.points).filter(\.value.isFinite)
        guard let low = points.map(\.value).min(), let high = points.map(\.value).max(),
            let first = points.map(\.step).min(), let last = points.map(\.step).max(),
            last > first
        else { return "" }
        let height = 200.0
        let (left, right) = (56.0, 130.0)
        let across = (width - left - right) / Double(last - first)
        let up = (height - 30) / max(high - low, 1e-12)
        func place(_ point: Runs.Point) -> String {
            "\(at(left + Double(point.step - first) * across)),\(at(height - 22 - (point.value - low) * up))"
        }
        func endHeight(_ curve: (name: String, points: [Runs.Point])) -> Double {
            height - 18 - ((curve.points.last?.value ?? low) - low) * up
        }
        // Names stand at the ends of their curves, and not on each other; more have no room.
        var nameHeights: [String: Double] = [:]
        var lowest = 0.0
        for curve in drawn.sorted(by: { endHeight($0) < endHeight($1) }) {
            lowest = max(lowest + 14, endHeight(curve))
            nameHeights[curve.name] = lowest
        }
        let isNamed = drawn.count <= 12
        let lines = drawn.enumerated().map { number, curve -> HTML in
            let every = max(1, curve.points.count / 300)
            let path = stride(from: 0, to: curve.points.count, by: every)
                .map { place(curve.points[$0]) }.joined(separator: " ")
            let hue = number * 137 % 360
            let label: HTML = """
                <text x="\(at(width - right + 6))" y="\(at(nameHeights[curve.name] ?? 0))">\(curve.name)</text>
                """
            return """
                <polyline class="curve" style="stroke: light-dark(hsl(\(hue) 70% 35%), hsl(\(hue) 70% 70%))" points="\(path)"/>
                \(isNamed ? label : "")

                """
        }
        let axis: HTML = """
            <line class="axis" x1="\(at(left))" x2="\(at(width - right))" y1="\(at(height - 22))" y2="\(at(height - 22))"/>
            <text class="soft" x="0" y="16">\(String(format: "%.4g", high))</text>
            <text class="soft" x="0" y="\(at(height - 24))">\(String(format: "%.4g", low))</text>
            <text class="soft" x="\(at(left))" y="\(at(height - 6))">step \(first)</text>
            <text class="soft" x="\(at(width - right))" y="\(at(height - 6))" text-anchor="end">\(last)</text>

            """
        let words = drawn.map { curve in
            let ends = [curve.points.first, curve.points.last].compactMap(\.self)
            return "\(curve.name) from "
                + ends.map { String(format: "%.4g", $0.value) }.joined(separator: " to ")
        }
        return
            "<h3>\(title)</h3>\n\(svg(height, "\(title): " + words.joined(separator: ", "), "\(axis)\(lines)"))"
    }
}
