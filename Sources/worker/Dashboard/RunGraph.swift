// SPDX-License-Identifier: Apache-2.0
import Foundation
import Jobs

/// A run's steps from left to right, each behind all that it waits for.
struct RunGraph {
    private struct Box {
        let step: Runs.Graph.Step
        let x: Double
        let y: Double
    }

    private static let (width, height) = (112.0, 46.0)
    private static let (gap, rowGap) = (26.0, 12.0)

    private let run: Int
    private let boxes: [Box]
    private let edges: [Runs.Graph.Edge]
    private let size: (width: Double, height: Double)

    init(_ graph: Runs.Graph, of run: Int) {
        self.run = run
        let levels = Self.levels(graph)
        var rows: [Int: Int] = [:]
        boxes = graph.steps.map { step in
            let level = levels[step.id] ?? 0
            let row = rows[level, default: 0]
            rows[level] = row + 1
            return Box(
                step: step,
                x: Double(level) * (Self.width + Self.gap) + 2,
                y: Double(row) * (Self.height + Self.rowGap) + 2
            )
        }
        edges = graph.edges
        size = (
            Double((rows.keys.max() ?? 0) + 1) * (Self.width + Self.gap) - Self.gap + 4,
            Double(rows.values.max() ?? 1) * (Self.height + Self.rowGap) - Self.rowGap + 4
        )
    }

    /// How many steps are before each, on the longest way to it.
    static func levels(_ graph: Runs.Graph) -> [Int: Int] {
        var levels = Dictionary(uniqueKeysWithValues: graph.steps.map { ($0.id, 0) })
        // As many times as a way can be long; a graph of jobs has no rings.
        for _ in graph.steps {
            var isStill = true
            for edge in graph.edges {
                guard let from = levels[edge.from], let to = levels[edge.to], to <= from
                else { continue }
                levels[edge.to] = from + 1
                isStill = false
            }
            if isStill { break }
        }
        return levels
    }

    /// Where a step stands: of a fan-out, how many of its jobs have succeeded.
    static func words(_ step: Runs.Graph.Step) -> (state: String, text: String) {
        let state =
            if step.failed > 0 {
                "failed"
            } else if step.running > 0 {
                "running"
            } else if step.cancelled > 0 {
                "cancelled"
            } else {
                step.succeeded == step.jobs ? "succeeded" : "waiting"
            }
        let share = "\(Int(step.fraction * 100)) %"
        guard step.jobs > 1 else { return (state, state == "running" ? share : state) }
        let failed = step.failed > 0 ? ", \(step.failed) failed" : ""
        return (state, "\(step.succeeded) of \(step.jobs)\(failed)")
    }

    var drawing: HTML {
        let places = Dictionary(uniqueKeysWithValues: boxes.map { ($0.step.id, $0) })
        let lines = edges.compactMap { edge -> HTML? in
            guard let from = places[edge.from], let to = places[edge.to] else { return nil }
            let (x, y) = (from.x + Self.width, from.y + Self.height / 2)
            // Along its own row, and to the other just before it.
            let (bend, end) = (to.x - Self.gap, to.y + Self.height / 2)
            let middle = to.x - Self.gap / 2
            return """
                <path class="edge" d="M\(at(x)) \(at(y)) H\(at(bend)) C\(at(middle)) \(at(y)) \(at(middle)) \(at(end)) \(at(to.x)) \(at(end))"/>

                """
        }
        let steps = boxes.map(draw)
        return """
            <div class="scroll" tabindex="0" role="region" aria-label="Steps and what they wait for"><svg class="graph" viewBox="0 0 \(at(size.width)) \(at(size.height))" style="max-width: \(at(size.width * 1.1))px; min-width: \(at(size.width * 0.75))px">
            \(lines)\(steps)</svg></div>

            """
    }

    private func draw(_ box: Box) -> HTML {
        let step = box.step
        let (state, text) = Self.words(step)
        let name =
            step.jobs > 1 ? String(step.name.prefix { !$0.isNumber }) + "× \(step.jobs)" : step.name
        // What is drawn of the rest would be wider than its box.
        let short = name.count > 16 ? name.prefix(15) + "…" : name[...]
        // Of many, those that one looks for.
        let jobs = ["run": "\(run)"].merging(step.failed > 0 ? ["state": "failed"] : [:]) { $1 }
        let link =
            step.jobs > 1 ? HTML.path(["jobs"], jobs) : HTML.path(["jobs", "\(step.job)"])
        return """
            <a href="\(link)" aria-label="\(name): \(text)">
            <rect class="step \(state)" x="\(at(box.x))" y="\(at(box.y))" width="\(at(Self.width))" height="\(at(Self.height))" rx="6"/>
            <rect class="done" x="\(at(box.x))" y="\(at(box.y))" width="\(at(Self.width * step.fraction))" height="\(at(Self.height))" rx="6"/>
            <text x="\(at(box.x + 8))" y="\(at(box.y + 19))">\(String(short))</text>
            <text class="soft" x="\(at(box.x + 8))" y="\(at(box.y + 36))">\(text)</text></a>

            """
    }

    private func at(_ number: Double) -> String { String(format: "%.1f", number) }
}
