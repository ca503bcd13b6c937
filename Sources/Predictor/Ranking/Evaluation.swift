// SPDX-License-Identifier: Apache-2.0

/// Who gets lists.
package enum Audience: String, Sendable, Codable {
    /// A list for each user, from the user's history.
    case users
    /// A list for each item: what is like it, or comes after it.
    case items
}

/// How good a model's lists are on the events kept back, beside popularity on the same queries.
package struct EvaluationReport: Sendable, Codable {
    /// Metric name (`hit-rate@10`, …) to value and interval.
    package var model: [String: Estimate] = [:]
    package var popularity: [String: Estimate] = [:]
    /// Model minus popularity, paired by query.
    package var difference: [String: Estimate] = [:]
    package var queries = 0
    /// Queries that the model knew nothing about, answered with the popularity list.
    package var coldQueries = 0
    /// Share of the catalogue that is in at least one list.
    package var coverage = 0.0
    package var popularityCoverage = 0.0

    /// The plain sentence: whether it is better than popularity at this metric.
    package func verdict(_ metric: String) -> String {
        guard let difference = difference[metric] else { return "not measured" }
        if difference.low > 0 { return "better than popularity" }
        if difference.high < 0 { return "worse than popularity" }
        return "not distinguishable from popularity"
    }
}

package enum Evaluation {
    /// The queries of a split.
    ///
    /// For users: the history is what came before the events kept back, and those are the truth.
    /// For items, the Metaflow tutorial's protocol: the last item of each sequence that ends in the
    /// test part is to be found from the item before it.
    struct Queries {
        var histories: [[Int32]] = []
        var truths: [Set<Int32>] = []

        init(_ dataset: Dataset, for audience: Audience) {
            switch audience {
            case .users: addUsers(dataset)
            case .items: addSequences(dataset)
            }
        }

        private mutating func addUsers(_ dataset: Dataset) {
            for user in 0..<dataset.users.count {
                var history: [Int32] = []
                var truth: Set<Int32> = []
                for event in dataset.events(ofUser: user) {
                    if dataset.eventParts[event] == Part.test.rawValue {
                        truth.insert(dataset.eventItems[event])
                    } else {
                        history.append(dataset.eventItems[event])
                    }
                }
                if truth.isEmpty { continue }
                histories.append(history)
                truths.append(truth)
            }
        }

        private mutating func addSequences(_ dataset: Dataset) {
            for sequence in 0..<dataset.sequenceCount {
                let events = dataset.events(ofSequence: sequence)
                guard events.count >= 2,
                    dataset.eventParts[events.upperBound - 1] == Part.test.rawValue
                else { continue }
                histories.append([dataset.eventItems[events.upperBound - 2]])
                truths.append([dataset.eventItems[events.upperBound - 1]])
            }
        }
    }

    /// Measures at each of `ks`, none above `rules.k`, on lists made by the rules of what is
    /// served: seen items are left out of users' lists, the item itself out of items' lists.
    package static func run(
        _ model: RetrievalModel,
        baseline: RetrievalModel,
        on dataset: Dataset,
        for audience: Audience,
        _ rules: ListRules,
        ks: [Int],
        progress: (Double) throws -> Void = { _ in }
    ) throws -> EvaluationReport {
        let queries = Queries(dataset, for: audience)
        guard !queries.truths.isEmpty else {
            throw PredictorError.input(
                "nothing to test on: the split keeps back no event that follows another",
                hint: "choose another `dataset: split:`, or bring more events"
            )
        }
        let ours = Ranker(model, fallback: baseline, rules)
        let theirs = Ranker(baseline, fallback: baseline, rules)
        func lists(_ ranker: Ranker, _ share: Double, from: Double) throws -> [RankedList] {
            let report = { (done: Double) throws in try progress(from + share * done) }
            return switch audience {
            case .users:
                try ranker.lists(
                    forHistories: queries.histories,
                    progress: report
                )
            case .items:
                try ranker.lists(
                    forItems: queries.histories.compactMap(\.first),
                    progress: report
                )
            }
        }
        let modelLists = try lists(ours, 0.45, from: 0)
        let popularLists = try lists(theirs, 0.45, from: 0.45)
        var report = EvaluationReport()
        report.queries = queries.truths.count
        report.coldQueries = modelLists.count { $0.isCold }
        report.coverage = coverage(modelLists, of: dataset)
        report.popularityCoverage = coverage(popularLists, of: dataset)
        var names: [String] = []
        var values = [[Double]](repeating: [], count: queries.truths.count)
        for k in ks {
            for (name, value) in metrics {
                names.append("\(name)@\(k)")
                for query in values.indices {
                    let truth = queries.truths[query]
                    let a = value(ListScore(modelLists[query].items, truth: truth, k: k))
                    let b = value(ListScore(popularLists[query].items, truth: truth, k: k))
                    values[query] += [a, b, a - b]
                }
            }
        }
        let estimates = Bootstrap.means(values)
        for (place, name) in names.enumerated() {
            report.model[name] = estimates[3 * place]
            report.popularity[name] = estimates[3 * place + 1]
            report.difference[name] = estimates[3 * place + 2]
        }
        try progress(1)
        return report
    }

    private static var metrics: [(String, (ListScore) -> Double)] {
        [
            ("hit-rate", { $0.hitRate }), ("recall", { $0.recall }), ("ndcg", { $0.ndcg }),
            ("mrr", { $0.mrr }),
        ]
    }

    private static func coverage(_ lists: [RankedList], of dataset: Dataset) -> Double {
        Double(Set(lists.lazy.flatMap(\.items)).count) / Double(dataset.items.count)
    }
}
