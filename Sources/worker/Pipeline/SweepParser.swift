// SPDX-License-Identifier: Apache-2.0
import Foundation
import Predictor
import Yams

/// Reads `model:` with its `sweep:`.
///
/// Every arm is the model's mapping with some values replaced, and is read like any model: what a
/// single model must not say, an arm must not say either, and the line of the value is told.
struct SweepParser {
    private static let most = 1000
    private static let ownKeys = ["random", "halving", "join"]

    private let model: YAMLSection
    private let hasValidation: Bool
    /// How long lists are.
    private let longest: Int
    private let problems: Problems

    init(_ model: YAMLSection, hasValidation: Bool, longest: Int, _ problems: Problems) {
        self.model = model
        self.longest = longest
        self.hasValidation = hasValidation
        self.problems = problems
    }

    /// Nil where the model has no sweep.
    func sweep() -> Sweep? {
        guard let node = model.value("sweep") else { return nil }
        let section = YAMLSection(node, name: "model: sweep", problems)
        guard node.mapping != nil else { return nil }
        if !hasValidation {
            problems.add(
                node,
                "model: sweep needs a validation part to choose by, such as dataset: split: "
                    + "{ by: leave-last-one, validation: true }; chosen on the test part, the best "
                    + "would look better than it is"
            )
        }
        let (count, seed) = random(section)
        let halving =
            section.value("halving") == nil ? nil : section.int("halving", default: 3, in: 2...100)
        let join = join(section)
        let axes = axes(section, allowRanges: count != nil)
        guard !axes.isEmpty else { return nil }
        let arms = arms(count.map { draw($0, seed, axes) } ?? grid(axes), node)
        let sweep = Sweep(arms: arms, select: select(), join: join, halving: halving)
        if halving != nil { checkHalving(sweep, node) }
        return sweep
    }

    /// `hit-rate@10`, without a section: it stands beside `sweep`.
    private func select() -> String {
        let usual = "ndcg@\(min(10, longest))"
        guard let text = model.string("select"), let node = model.value("select") else {
            return usual
        }
        let names = EvaluationReport.chosenBy
        guard let match = text.wholeMatch(of: /([a-z-]+)@([1-9][0-9]{0,3})/),
            names.contains(String(match.1)), let k = Int(match.2)
        else {
            model.wrong(
                node,
                "select",
                "a metric and a length, such as \(usual); metrics are \(names.joined(separator: ", "))"
            )
            return usual
        }
        if k > longest {
            model.wrong(node, "select", "of lists no longer than predict: k, \(longest)")
        }
        return text
    }

    /// `random: 20`, or `random: { arms: 20, seed: 7 }`.
    private func random(_ section: YAMLSection) -> (count: Int?, seed: Int) {
        guard let node = section.value("random") else { return (nil, 1) }
        guard node.mapping != nil else {
            return (section.int("random", default: 1, in: 1...Self.most), 1)
        }
        let random = YAMLSection(node, name: "model: sweep: random", problems)
        defer { random.finish() }
        if random.value("arms") == nil { random.missing("arms") }
        return (
            random.int("arms", default: 1, in: 1...Self.most),
            random.int("seed", default: 1, in: 0...Int(Int32.max))
        )
    }

    private func join(_ section: YAMLSection) -> Sweep.Join {
        guard let node = section.value("join") else { return .any }
        guard node.mapping != nil else {
            switch section.choice("join", of: ["any", "all", "first-good"], default: "any") {
            case "all": return .all
            case "first-good": return .atLeast(1)
            default: return .any
            }
        }
        let join = YAMLSection(node, name: "model: sweep: join", problems)
        defer { join.finish() }
        if join.value("best-of") != nil { return .bestOf(join.seconds("best-of", default: nil)) }
        if join.value("at-least") == nil { join.missing("at-least") }
        return .atLeast(join.int("at-least", default: 1, in: 1...Self.most))
    }

    // MARK: values

    /// One setting and what it is to be.
    private struct Axis {
        let key: Node
        var values: [Node] = []
        /// Drawn from instead of listed.
        var range: (from: Double, to: Double, isLog: Bool, isWhole: Bool)?

        var name: String { key.scalar?.string ?? "" }
    }

    private typealias Values = [(key: Node, value: Node)]

    private func axes(_ section: YAMLSection, allowRanges: Bool) -> [Axis] {
        let pairs = (section.node?.mapping ?? [:]).filter {
            !Self.ownKeys.contains($0.key.scalar?.string ?? "")
        }
        if pairs.isEmpty, section.node != nil {
            problems.add(section.node, "model: sweep names no setting with values to try")
        }
        return pairs.compactMap { key, value in
            var axis = Axis(key: key)
            if let values = value.sequence, !values.isEmpty {
                axis.values = Array(values)
                return axis
            }
            guard value.mapping != nil else {
                section.wrong(value, axis.name, "a list of values, such as [32, 64]")
                return nil
            }
            guard allowRanges else {
                problems.add(
                    value,
                    "model: sweep: \(axis.name) is a range, which needs random: how many arms; "
                        + "a grid needs a list"
                )
                return nil
            }
            axis.range = range(
                YAMLSection(value, name: "model: sweep: \(axis.name)", problems)
            )
            if axis.range == nil { return nil }
            return axis
        }
    }

    private func range(
        _ section: YAMLSection
    ) -> (from: Double, to: Double, isLog: Bool, isWhole: Bool)? {
        defer { section.finish() }
        let all = -1e12...1e12
        for key in ["from", "to"] where section.value(key) == nil { section.missing(key) }
        let isLog = section.choice("scale", of: ["linear", "log"], default: "linear") == "log"
        guard let node = section.value("from"), section.value("to") != nil else { return nil }
        let from = section.double("from", default: 0, in: all)
        let to = section.double("to", default: 1, in: all)
        guard from < to, !isLog || from > 0 else {
            section.wrong(node, "from", "below `to:`\(isLog ? ", and above 0 on a log scale" : "")")
            return nil
        }
        let isWhole = ["from", "to"].allSatisfy { section.value($0)?.int != nil }
        return (from, to, isLog, isWhole)
    }

    private func grid(_ axes: [Axis]) -> [Values] {
        let count = axes.reduce(1) { product, axis in
            min(Self.most + 1, product * max(1, axis.values.count))
        }
        guard count <= Self.most else { return [Values](repeating: [], count: count) }
        return axes.reduce([[]]) { arms, axis in
            arms.flatMap { arm in axis.values.map { arm + [(axis.key, $0)] } }
        }
    }

    /// Independent draws; the same arm only once.
    private func draw(_ count: Int, _ seed: Int, _ axes: [Axis]) -> [Values] {
        var generator = SeededGenerator(seed: seed)
        var arms: [Values] = []
        var seen: Set<String> = []
        // A small space has fewer arms than are asked for.
        for _ in 0..<20 * count where arms.count < count {
            let arm = axes.map { axis in (axis.key, Self.draw(axis, &generator)) }
            if seen.insert(Self.name(arm)).inserted { arms.append(arm) }
        }
        return arms
    }

    private static func draw(_ axis: Axis, _ generator: inout SeededGenerator) -> Node {
        guard let range = axis.range else {
            return axis.values.randomElement(using: &generator) ?? Node("")
        }
        let share = Double.random(in: 0..<1, using: &generator)
        let value =
            range.isLog
            ? range.from * pow(range.to / range.from, share)
            : range.from + share * (range.to - range.from)
        let text =
            range.isWhole
            ? "\(Int(value.rounded()))" : "\(Double(String(format: "%.4g", value)) ?? value)"
        return .scalar(Node.Scalar(text, Tag(.implicit), .any, axis.key.scalar?.mark))
    }

    // MARK: arms

    private func arms(_ arms: [Values], _ node: Node) -> [Sweep.Arm] {
        guard arms.count <= Self.most else {
            problems.add(
                node,
                "model: sweep has more than \(Self.most) arms; draw some with random:"
            )
            return []
        }
        return arms.map { values in
            let own = (model.node?.mapping ?? [:]).filter { key, _ in
                key.scalar?.string != "sweep" && key.scalar?.string != "select"
                    && !values.contains { $0.key.scalar?.string == key.scalar?.string }
            }
            let mapping = Node.Mapping(
                own.map { ($0.key, $0.value) } + values.map { ($0.key, $0.value) },
                Tag(.map),
                .any,
                model.node?.mapping?.mark
            )
            let section = YAMLSection(.mapping(mapping), name: "model", problems)
            return Sweep.Arm(name: Self.name(values), model: ModelParser(section).model())
        }
    }

    private static func name(_ values: Values) -> String {
        values.map { key, value in
            let text =
                value.scalar?.string
                ?? "[\((value.sequence ?? []).compactMap(\.scalar?.string).joined(separator: ", "))]"
            return "\(key.scalar?.string ?? "") \(text)"
        }
        .joined(separator: ", ")
    }

    private func checkHalving(_ sweep: Sweep, _ node: Node) {
        let whole = sweep.arms.first { !$0.model.canPause }
        if let whole {
            problems.add(
                node,
                "model: sweep: halving trains a part and goes on; \(whole.model.kind)"
                    + " is trained whole (prod2vec, als, two-tower and session-transformer without"
                    + " windows can pause)"
            )
        }
    }
}

extension Pipeline.Model {
    /// Whether a training may stop on its way, to go on another time.
    var canPause: Bool {
        switch self {
        case .prod2vec, .als, .twoTower: true
        case .sessionTransformer(let settings): settings.windows == nil
        case .popularity, .itemKNN, .ratingMLP, .lists: false
        }
    }
}
