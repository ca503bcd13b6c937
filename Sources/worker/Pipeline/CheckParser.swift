// SPDX-License-Identifier: Apache-2.0
import Predictor
import Tables
import Yams

/// Reads `check:` of a pipeline file: a list of gates, or a mapping.
struct CheckParser {
    private let node: Node?
    private let pipeline: YAMLSection
    private let folder: String
    private let problems: Problems

    init(_ pipeline: YAMLSection, folder: String, _ problems: Problems) {
        node = pipeline.value("check")
        self.pipeline = pipeline
        self.folder = folder
        self.problems = problems
    }

    func check(_ dataset: DatasetSettings, _ predict: Pipeline.Predict) -> Pipeline.Check {
        let hasTime = dataset.columns.time != nil
        var usual = Baseline.usual(for: predict.audience, hasTime: hasTime)
        // What those who had it had is for users as many to count as their events squared.
        if predict.isOfUsers { usual.removeAll { $0 == .itemKNN } }
        let section = YAMLSection(node?.mapping == nil ? nil : node, name: "check", problems)
        var check = Pipeline.Check(
            baselines: baselines(
                section,
                usual,
                hasTime,
                isOfUsers: predict.isOfUsers
            ),
            slices: [],
            gates: gates(node?.sequence.map(Array.init) ?? list(section, "gates")),
            cases: cases(section)
        )
        if let node, node.mapping == nil, node.sequence == nil {
            problems.add(node, "check must be a list of gates, or have gates:, slices: and so on")
        }
        check.slices = slices(section, check.gates, dataset, predict)
        checkGates(check, predict)
        let numbers =
            predict.isOfUsers
            ? [] : dataset.features.filter { $0.entity == .items && $0.isNumber }.map(\.name)
        for gate in check.gates where gate.name == "feature-distance" {
            guard let name = gate.dimension, !numbers.contains(name) else { continue }
            let near = EditDistance.nearest(to: name, in: numbers)
            problems.add(
                node,
                "gate \"\(gate.text)\": items have no number \"\(name)\" under dataset: features:"
                    + (near.map { "; did you mean \($0)?" } ?? "")
            )
        }
        section.finish()
        return check
    }

    private func list(_ section: YAMLSection, _ key: String) -> [Node] {
        guard let node = section.value(key) else { return [] }
        guard let list = node.sequence else {
            section.wrong(node, key, "a list")
            return []
        }
        return Array(list)
    }

    private func baselines(
        _ section: YAMLSection,
        _ usual: [Baseline],
        _ hasTime: Bool,
        isOfUsers: Bool
    ) -> [Baseline] {
        guard let names = section.strings("baselines") else { return usual }
        let baselines = names.compactMap { name -> Baseline? in
            if let baseline = Baseline(rawValue: name) { return baseline }
            let near = EditDistance.nearest(to: name, in: Baseline.allCases.map(\.rawValue))
            problems.add(
                section.value("baselines"),
                "check: baselines has \"\(name)\", but there are only "
                    + Baseline.allCases.map(\.rawValue).joined(separator: ", ")
                    + (near.map { "; did you mean \($0)?" } ?? "")
            )
            return nil
        }
        if baselines.contains(.recentPopularity), !hasTime {
            problems.add(
                section.value("baselines"),
                "check: baselines: recent-popularity needs dataset: columns: time"
            )
        }
        for baseline in baselines where !usual.contains(baseline) && isOfUsers {
            problems.add(
                section.value("baselines"),
                "check: baselines: \(baseline.rawValue) is not for lists of users: who has what in common is for users as many to count as their events squared"
            )
        }
        // Beside it everything else is read.
        return [.popularity] + baselines.filter { $0 != .popularity }
    }

    private func gates(_ nodes: [Node]) -> [Gate] {
        nodes.compactMap { node -> Gate? in
            guard let text = node.scalar?.string else {
                problems.add(node, "a gate must be a text such as recall@10 > popularity")
                return nil
            }
            do throws(Gate.Problem) {
                return try Gate(parsing: text)
            } catch {
                problems.add(node, "gate \"\(text)\": \(error.text)")
                return nil
            }
        }
    }

    private func slices(
        _ section: YAMLSection,
        _ gates: [Gate],
        _ dataset: DatasetSettings,
        _ predict: Pipeline.Predict
    ) -> [String] {
        let own = predict.isOfUsers ? [] : [Slices.itemPopularity, Slices.userActivity]
        let features =
            predict.isOfUsers ? [] : dataset.features.filter { $0.entity != .events }.map(\.name)
        // Of one item each, histories do not differ in length.
        let usual = predict.audience == .items ? [Slices.itemPopularity] : own
        let given = section.strings("slices") ?? usual
        let asked = gates.compactMap(\.slicedBy)
        for name in given + asked where !(own + features).contains(name) {
            let near = EditDistance.nearest(to: name, in: own + features)
            problems.add(
                section.value("slices") ?? node,
                "check: there are no slices by \"\(name)\""
                    + (near.map { "; did you mean \($0)?" }
                        ?? (predict.isOfUsers
                            ? ": lists of users are measured as a whole"
                            : ": it is no feature of users or items under dataset: features:"))
            )
        }
        return (given + asked).reduce(into: []) { all, name in
            if !all.contains(name) { all.append(name) }
        }
    }

    private func checkGates(_ check: Pipeline.Check, _ predict: Pipeline.Predict) {
        for gate in check.gates {
            if let k = gate.k, k > predict.rules.k {
                problems.add(
                    node,
                    "gate \"\(gate.text)\": lists have \(predict.rules.k) items (predict: k)"
                )
            }
            if gate.isAtOneLength, let k = gate.k, k != min(10, predict.rules.k) {
                problems.add(
                    node,
                    "gate \"\(gate.text)\": \(gate.name) is measured so at \(min(10, predict.rules.k)) only"
                )
            }
            if let value = gate.value, let known = Slices.values(of: gate.slicedBy ?? ""),
                !known.contains(value)
            {
                let near = EditDistance.nearest(to: value, in: known)
                problems.add(
                    node,
                    "gate \"\(gate.text)\": \(gate.slicedBy ?? "") is one of \(known.joined(separator: ", "))"
                        + (near.map { "; did you mean \($0)?" } ?? "")
                )
            }
            if let other = gate.other, other != Gate.live,
                !check.baselines.contains(where: { $0.rawValue == other })
            {
                problems.add(node, "gate \"\(gate.text)\": \(other) is not among check: baselines")
            }
        }
    }

    private func cases(_ section: YAMLSection) -> TableSource? {
        section.string("cases").map { path in
            TableSource(
                path.hasSuffix(".tsv") ? .tsv : .csv,
                path.hasPrefix("/") || path.contains("://") ? path : "\(folder)/\(path)"
            )
        }
    }
}
