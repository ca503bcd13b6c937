// SPDX-License-Identifier: Apache-2.0
import Foundation
import Predictor
import Tables

/// A condition that lists must meet to go live, such as `recall@10 > popularity`.
///
/// `>` and `<` ask that a figure be above or below with 95 % confidence; `>=`, `<=` and `in` compare
/// the figures as they are.
struct Gate: Codable, Equatable, Sendable {
    enum Comparison: String, Codable {
        case above = ">"
        case atLeast = ">="
        case below = "<"
        case atMost = "<="
        case within = "in"
    }

    /// As it was written.
    let text: String
    /// `recall@10`, or `recall@10[genres=Drama]`.
    let metric: String
    let comparison: Comparison
    /// A baseline or `live`, to which the bound is added; nil: the bound alone.
    let other: String?
    let bound: Double
    /// Of `in`.
    let upperBound: Double?

    static let live = "live"

    /// Metrics of the lists that are about to go live, not of those that were measured.
    static let ofLists = ["overlap-with-live"] + withoutLength
    private static let withoutLength = [
        "share-of-changed-lists", "share-of-short-lists", "share-of-cold-lists",
    ]

    /// `recall` of `recall@10[genres=Drama]`.
    var name: String { String(metric.prefix { $0 != "@" && $0 != "[" }) }

    var k: Int? {
        metric.split(separator: "@").dropFirst().first.flatMap { Int($0.prefix { $0 != "[" }) }
    }

    /// `genres` of `recall@10[genres=Drama]`, and of `mred@10[genres]`.
    var dimension: String? {
        guard let start = metric.firstIndex(of: "[") else { return nil }
        return String(metric[metric.index(after: start)...].prefix { $0 != "=" && $0 != "]" })
    }

    /// `Drama` of `recall@10[genres=Drama]`.
    var value: String? {
        guard let start = metric.firstIndex(of: "=") else { return nil }
        return String(metric[metric.index(after: start)...].dropLast())
    }

    /// Measured at one length only.
    var isAtOneLength: Bool { dimension != nil || Behaviour.metrics.contains(name) }

    /// What queries or items are to be divided by.
    var slicedBy: String? { name == "feature-distance" ? nil : dimension }

    var isOfLists: Bool { Self.ofLists.contains(name) }

    /// What is wrong with it, in words.
    struct Problem: Error {
        let text: String
    }

    init(parsing text: String) throws(Problem) {
        let pattern =
            /(?<metric>[a-z-]+(@[1-9][0-9]*)?(\[[^\]]+\])?)\s*(?<comparison>>=|<=|>|<|in\b)\s*(?<bound>.+)/
        guard let match = text.wholeMatch(of: pattern),
            let comparison = Comparison(rawValue: String(match.comparison))
        else {
            throw Problem(
                text:
                    "must be a comparison such as recall@10 > popularity, recall@10 >= live - 0.002"
                    + " or overlap-with-live@10 in [0.2, 0.98]"
            )
        }
        self.text = text
        self.comparison = comparison
        metric = String(match.metric)
        (other, bound, upperBound) = try Self.bound(String(match.bound), comparison)
        try check()
    }

    private static func bound(
        _ text: String,
        _ comparison: Comparison
    ) throws(Problem) -> (other: String?, bound: Double, upperBound: Double?) {
        if comparison == .within {
            guard let match = text.wholeMatch(of: /\[\s*(.+?)\s*,\s*(.+?)\s*\]/),
                let low = number(match.1), let high = number(match.2), low <= high
            else { throw Problem(text: "`in` needs two numbers in order, such as [0.2, 0.98]") }
            return (nil, low, high)
        }
        if let number = number(text[...]) { return (nil, number, nil) }
        guard let match = text.wholeMatch(of: /([a-z-]*[a-z])(?:\s*([+-])\s*(.+))?/),
            let offset = match.3.map({ number($0) }) ?? 0
        else {
            throw Problem(text: "\"\(text)\" is no number, no baseline and not live, ± a number")
        }
        let other = String(match.1)
        let names = Baseline.allCases.map(\.rawValue) + [live]
        guard names.contains(other) else {
            let near = EditDistance.nearest(to: other, in: names)
            throw Problem(
                text: "\"\(other)\" is nothing to compare with"
                    + (near.map { "; did you mean \($0)?" }
                        ?? "; there are \(names.joined(separator: ", "))")
            )
        }
        return (other, match.2 == "-" ? -offset : offset, nil)
    }

    /// `0.1` or `10%`.
    private static func number(_ text: Substring) -> Double? {
        let number =
            text.hasSuffix("%") ? Double(text.dropLast()).map { $0 / 100 } : Double(text)
        return number.flatMap { $0.isFinite ? $0 : nil }
    }

    private func check() throws(Problem) {
        let known = EvaluationReport.metrics + Self.ofLists
        guard known.contains(name) else {
            let near = EditDistance.nearest(to: name, in: known)
            throw Problem(
                text: "\"\(name)\" is no metric"
                    + (near.map { "; did you mean \($0)?" }
                        ?? "; there are \(known.joined(separator: ", "))")
            )
        }
        if Self.withoutLength.contains(name) {
            guard k == nil, dimension == nil else {
                throw Problem(text: "\(name) is of whole lists: it has no @ and no [ ]")
            }
        } else if k == nil || k == 0 {
            throw Problem(text: "\(name) needs a length, such as \(name)@10")
        }
        if isOfLists || Behaviour.metrics.contains(name), other != nil {
            throw Problem(text: "\(name) is compared with numbers only")
        }
        if name == "mred" {
            guard dimension != nil, !metric.contains("=") else {
                throw Problem(
                    text: "mred needs what divides the queries, such as mred@10[user-activity]"
                )
            }
        } else if name == "feature-distance" {
            guard dimension != nil, !metric.contains("=") else {
                throw Problem(
                    text:
                        "feature-distance needs a number of items, such as feature-distance@10[price]"
                )
            }
        } else if dimension != nil {
            guard EvaluationReport.slicedMetrics.contains(name) else {
                throw Problem(
                    text:
                        "slices have \(EvaluationReport.slicedMetrics.joined(separator: ", ")) only"
                )
            }
            guard metric.contains("=") else {
                throw Problem(
                    text: "\(metric) needs a value, such as \(name)@10[user-activity=low]"
                )
            }
        }
    }
}

/// What became of a gate.
struct GateOutcome: Codable, Sendable {
    let gate: String
    let holds: Bool
    /// What was found, and by how much it fails.
    let finding: String
}

extension Gate {
    /// `live`: why there is no live system in the report, where there is none.
    func outcome(_ report: EvaluationReport, withoutLive why: String?) -> GateOutcome {
        guard let found = report.model[metric] else {
            return outcome(
                false,
                slicedBy == nil
                    ? "\(metric) was not measured: the model or the dataset has nothing for it"
                    : "\(metric) was not measured: the test part has no such slice"
            )
        }
        guard let other else { return outcome(found) }
        guard let system = report.system(other) else {
            if other == Self.live, let why { return outcome(false, why) }
            // The first of a feed: nothing is replaced.
            return outcome(true, "there is no \(other) release yet")
        }
        guard let theirs = system.metrics[metric], let difference = system.differences[metric]
        else { return outcome(false, "\(metric) was not measured of \(other)") }
        let value = difference.value - bound
        let holds =
            switch comparison {
            case .above: difference.low > bound
            case .atLeast: value >= 0
            case .below: difference.high < bound
            case .atMost: value <= 0
            case .within: false
            }
        var finding =
            "\(Self.text(found.value)), \(other) \(Self.text(theirs.value)): a difference of "
            + "\(Self.text(difference.value)) [\(Self.text(difference.low)), \(Self.text(difference.high))]"
        if !holds { finding += shortfall(value, difference.low - bound, difference.high - bound) }
        return outcome(holds, finding)
    }

    /// Of a figure that nothing is known about but itself.
    func outcome(of value: Double) -> GateOutcome {
        outcome(Estimate(value: value, low: value, high: value))
    }

    private func outcome(_ found: Estimate) -> GateOutcome {
        let holds =
            switch comparison {
            case .above: found.low > bound
            case .atLeast: found.value >= bound
            case .below: found.high < bound
            case .atMost: found.value <= bound
            case .within: found.value >= bound && found.value <= upperBound ?? bound
            }
        var finding = Self.text(found.value)
        if found.low < found.high {
            finding += " [\(Self.text(found.low)), \(Self.text(found.high))]"
        }
        if !holds {
            let nearest =
                comparison == .within && found.value > bound ? upperBound ?? bound : bound
            finding += shortfall(found.value - nearest, found.low - bound, found.high - bound)
        }
        return outcome(holds, finding)
    }

    /// By how much it fails; `value`, `low` and `high` are from the bound on.
    private func shortfall(_ value: Double, _ low: Double, _ high: Double) -> String {
        switch comparison {
        case .above where value > 0: ", above, but not beyond its interval (\(Self.text(low)))"
        case .below where value < 0: ", below, but not beyond its interval (\(Self.text(high)))"
        default: ", fails by \(Self.text(abs(value)))"
        }
    }

    private func outcome(_ holds: Bool, _ finding: String) -> GateOutcome {
        GateOutcome(gate: text, holds: holds, finding: finding)
    }

    private static func text(_ value: Double) -> String { String(format: "%.4f", value) }
}
