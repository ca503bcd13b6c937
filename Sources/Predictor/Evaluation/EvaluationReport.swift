// SPDX-License-Identifier: Apache-2.0

/// How good a model's lists are on the events kept back, beside others on the same queries.
package struct EvaluationReport: Sendable, Codable {
    /// The name of what is measured among its systems.
    package static let model = "model"

    /// What answers queries.
    package struct System: Sendable, Codable {
        /// `model`, a `Baseline`, or `live`.
        package var name: String
        /// By names like `recall@10` and `recall@10[item-popularity=tail]`.
        package var metrics: [String: Estimate] = [:]
        /// What the model has more than this one; empty for the model.
        package var differences: [String: Difference] = [:]
        /// Queries that it knew nothing about, answered with the popularity list.
        package var coldQueries = 0

        package init(name: String) { self.name = name }
    }

    /// What is measured, at each length of lists.
    package static var metrics: [String] {
        ListScore.metrics.map(\.name) + [
            "novelty", "popularity-bias", "diversity", "coverage", "gini", "mred",
        ] + Behaviour.metrics
    }
    /// What an arm of a sweep may be chosen by: more is better.
    package static var chosenBy: [String] {
        ListScore.metrics.map(\.name) + ["coverage", "diversity", "novelty"]
    }
    /// What is measured of slices.
    package static let slicedMetrics = ["hit-rate", "recall", "ndcg"]

    /// The lengths of lists that are measured, shortest first.
    package var ks: [Int] = []
    /// The length that slices and behaviour are measured at.
    package var sliceK = 10
    package var queries = 0
    /// Which order they were asked in: draws of two reports are paired in the same one only; nil is that of
    /// the first version.
    package var order: Int?
    /// The model first.
    package var systems: [System] = []
    package var slices: [Slice] = []
    /// Share of what came that the model does not know, and so cannot find.
    package var unknownTruths = 0.0

    /// Some of the model's lists, as people read them.
    package var answers: [Behaviour.Answer] = []

    package init() {}

    package func system(_ name: String) -> System? { systems.first { $0.name == name } }

    package var model: [String: Estimate] { system(Self.model)?.metrics ?? [:] }

    /// The plain sentence: whether the model is better than another at a metric.
    package func verdict(_ metric: String, against other: String) -> String {
        guard let difference = system(other)?.differences[metric] else { return "not measured" }
        return switch difference.sign {
        case 1: "better than \(other)"
        case -1: "worse than \(other)"
        default: "not distinguishable from \(other)"
        }
    }

    /// One sentence about all that was measured beside the model.
    package func verdicts(_ metric: String) -> String {
        let found = systems.dropFirst().map { verdict(metric, against: $0.name) }
        return "By \(metric) the model is \(found.joined(separator: ", "))."
    }
}
