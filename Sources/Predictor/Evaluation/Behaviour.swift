// SPDX-License-Identifier: Apache-2.0
private import Glibc
private import Tables

/// What lists are like beside what hits say, on some of the queries.
///
/// After RecList, Chia and others 2022.
package struct Behaviour: Sendable {
    /// By the names in `metrics`; without those that the model or the dataset gives nothing for.
    package var figures: [String: Replicated] = [:]
    /// Some lists as people read them, hits first.
    package var answers: [Answer] = []

    /// One list and what came.
    package struct Answer: Sendable, Codable, Equatable {
        package let id: String
        /// The newest things had before, oldest first.
        package let history: [String]
        package let came: [String]
        /// The best few.
        package let list: [String]
        /// Where the list has the first of what came, from 1.
        package let rank: Int?
    }

    /// What there is, at one length of lists.
    ///
    /// Shuffle and trim overlap: how much a list shares with that of the same history in another
    /// order, or without its newest event. Less wrong: of lists without a hit, the cosine of their
    /// first item's vector with the nearest of what came. Distance to query: one less the mean cosine
    /// of a list's items with the newest of the history. Category match: the share of a list that has
    /// a category in common with it. Feature distance: how many standard deviations a number of the
    /// list's items is away from its.
    package static let metrics = [
        "shuffle-overlap", "trim-overlap", "less-wrong", "distance-to-query", "category-match",
        "feature-distance",
    ]
}

extension Evaluation {
    /// Queries that behaviour is looked at on, evenly among all.
    private static let looked = 1000
    /// Answers of either kind that are kept.
    private static let shown = 5

    /// Of the first `k` of a system's lists; `model`: whose vectors distances are measured by.
    package func behaviour(
        of system: System,
        _ model: any Recommender,
        k: Int,
        progress: (Double) throws -> Void = { _ in }
    ) throws -> Behaviour {
        let count = min(Self.looked, test.queries.count)
        let chosen = (0..<count).map { $0 * test.queries.count / count }
        let queries = chosen.map { test.queries[$0] }
        let truths = chosen.map { test.truths[$0] }
        let lists = try lists(system.ranker, queries) { try progress($0 / 3) }
        var measured = Measured(queries, truths, lists.map { Array($0.items.prefix(k)) })
        // An item alone has no order and nothing to trim.
        if audience != .items {
            try measured.addOverlaps(system.ranker) { try progress((1 + 2 * $0) / 3) }
        }
        if let vectors = ItemSimilarities(model) { measured.addDistances(vectors) }
        try measured.addFeatures(dataset)
        var behaviour = Behaviour()
        for column in measured.columns {
            let figure = figure(column.values)
            if figure.value.isFinite {
                let feature = column.feature.map { "[\($0)]" } ?? ""
                behaviour.figures["\(column.name)@\(k)\(feature)"] = figure
            }
        }
        behaviour.answers = answers(chosen, measured.lists)
        return behaviour
    }

    private func figure(_ values: [Float?]) -> Replicated {
        var sums = Resampling(columns: 2)
        sums.add(values.flatMap { [$0 == nil ? 0 : 1, $0 ?? 0] })
        return sums.ratio(1, of: 0)
    }

    // MARK: answers

    private func answers(_ chosen: [Int], _ lists: [[Int32]]) -> [Behaviour.Answer] {
        let hits = chosen.indices.filter { place in
            lists[place].contains { test.truths[chosen[place]].contains($0) }
        }
        let misses = Set(chosen.indices).subtracting(hits).sorted()
        return [hits, misses].flatMap { kind in
            let step = max(1, kind.count / Self.shown)
            return stride(from: 0, to: kind.count, by: step).prefix(Self.shown).map { place in
                answer(chosen[kind[place]], lists[kind[place]])
            }
        }
    }

    private func answer(_ number: Int, _ list: [Int32]) -> Behaviour.Answer {
        let query = test.queries[number]
        let truth = test.truths[number]
        return Behaviour.Answer(
            id: query.user.map { dataset.users[Int($0)] } ?? "",
            history: query.history.suffix(3).map(name),
            came: truth.sorted().prefix(3).map(name),
            list: list.prefix(5).map(name),
            rank: list.firstIndex { truth.contains($0) }.map { $0 + 1 }
        )
    }

    private func name(_ item: Int32) -> String {
        let id = dataset.items[Int(item)]
        return dataset.title(Int(item)).map { "\(id) (\($0))" } ?? id
    }
}

/// What is measured of each query; nil where it says nothing.
private struct Measured {
    let queries: [Query]
    let truths: [Set<Int32>]
    let lists: [[Int32]]
    var columns: [(name: String, feature: String?, values: [Float?])] = []

    init(_ queries: [Query], _ truths: [Set<Int32>], _ lists: [[Int32]]) {
        self.queries = queries
        self.truths = truths
        self.lists = lists
    }

    mutating func addOverlaps(_ ranker: Ranker, _ progress: (Double) throws -> Void) throws {
        let shuffled = queries.enumerated().map { place, query in
            var generator = SeededGenerator(seed: 1, stream: place)
            return query.events(at: query.history.indices.shuffled(using: &generator))
        }
        let trimmed = queries.map { $0.events(at: Array($0.history.indices.dropLast())) }
        let inOrder = try ranker.lists(for: shuffled) { try progress($0 / 2) }
        let without = try ranker.lists(for: trimmed) { try progress(0.5 + $0 / 2) }
        func overlaps(_ others: [RankedList]) -> [Float?] {
            queries.indices.map { place in
                let list = lists[place]
                guard queries[place].history.count > 1, !list.isEmpty else { return nil }
                // What was left out is not hidden any more.
                let had = Set(queries[place].history)
                let other = others[place].items.lazy
                    .filter { !had.contains($0) || list.contains($0) }.prefix(list.count)
                return Float(Set(list).intersection(other).count) / Float(list.count)
            }
        }
        columns.append(("shuffle-overlap", nil, overlaps(inOrder)))
        columns.append(("trim-overlap", nil, overlaps(without)))
    }

    mutating func addDistances(_ vectors: ItemSimilarities) {
        columns.append(
            (
                "less-wrong", nil,
                queries.indices.map { place in
                    let list = lists[place]
                    guard let first = list.first, !list.contains(where: truths[place].contains)
                    else { return nil }
                    return truths[place].compactMap { vectors.cosine(first, $0) }.max()
                }
            )
        )
        columns.append(
            (
                "distance-to-query", nil,
                queries.indices.map { place in
                    guard let newest = queries[place].history.last else { return nil }
                    let cosines = lists[place].compactMap { vectors.cosine($0, newest) }
                    return cosines.isEmpty
                        ? nil : 1 - cosines.reduce(0, +) / Float(cosines.count)
                }
            )
        )
    }

    mutating func addFeatures(_ dataset: Dataset) throws(PredictorError) {
        if let categories = try ListTraits.Categories(dataset) {
            let shares = beside { newest, list in
                Float(list.count { categories.share($0, newest) }) / Float(list.count)
            }
            columns.append(("category-match", nil, shares))
        }
        for column in dataset.schema.columns(of: .items) where column.type == .number {
            guard case .numbers(let numbers) = try dataset.values(of: column) else { continue }
            let spread = Self.deviation(numbers.map { $0 })
            guard spread > 0 else { continue }
            let distances = beside { newest, list in
                list.reduce(0) { $0 + abs(numbers[Int($1)] - numbers[Int(newest)]) }
                    / Float(list.count) / spread
            }
            columns.append(("feature-distance", column.name, distances))
        }
    }

    /// Beside the newest of the history.
    private func beside(_ value: (Int32, [Int32]) -> Float) -> [Float?] {
        queries.indices.map { place in
            guard let newest = queries[place].history.last, !lists[place].isEmpty else {
                return nil
            }
            return value(newest, lists[place])
        }
    }

    private static func deviation(_ numbers: [Float]) -> Float {
        let finite = numbers.filter(\.isFinite)
        guard !finite.isEmpty else { return 0 }
        let mean = finite.reduce(0, +) / Float(finite.count)
        let squares = finite.reduce(0) { $0 + ($1 - mean) * ($1 - mean) }
        return (squares / Float(finite.count)).squareRoot()
    }
}

extension Query {
    /// Of these events of the history, in this order.
    fileprivate func events(at places: [Int]) -> Query {
        Query(
            user: user,
            history: places.map { history[$0] },
            events: events.isEmpty ? [] : places.map { events[$0] }
        )
    }
}
