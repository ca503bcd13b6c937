// SPDX-License-Identifier: Apache-2.0
import Tables

/// Who gets lists.
package enum Audience: String, Sendable, Codable {
    /// A list for each user, from the user's history.
    case users
    /// A list for each item: what is like it, or comes after it.
    case items
    /// A list for each user, from the user's last session: what comes next in it.
    case sessions

    /// Whose ids the lists are found by.
    package var owners: Audience { self == .items ? .items : .users }
}

/// Measures lists on the events kept back.
package struct Evaluation {
    /// Queries whose lists are in memory at a time.
    private static let block = 4096

    /// What answers queries, under the name that the report has for it.
    package struct System {
        let name: String
        let ranker: Ranker
        /// Items that it can find, to tell what it cannot; nil: not asked.
        let rows: [Int32]?

        package init(_ name: String, _ ranker: Ranker, rows: [Int32]? = nil) {
            self.name = name
            self.ranker = ranker
            self.rows = rows
        }
    }

    /// A report, and the draws behind it by system and metric, for comparing it with another.
    package struct Outcome: Sendable {
        package var report: EvaluationReport
        package var figures: [String: [String: Replicated]]

        /// Beside what was measured of the first system.
        package mutating func add(_ behaviour: Behaviour) {
            let name = report.systems[0].name
            for (metric, figure) in behaviour.figures {
                figures[name]?[metric] = figure
                report.systems[0].metrics[metric] = figure.estimate
            }
            report.answers = behaviour.answers
        }
    }

    let dataset: Dataset
    let audience: Audience
    private let ks: [Int]
    /// The length that slices are measured at.
    private let sliceK: Int
    let test: TestQueries
    private let slices: Slices
    private let traits: ListTraits

    /// `ks`: the lengths of lists that are measured, none above what the rankers make; `sliceK`: the
    /// one that slices are measured at, the shortest where nil.
    package init(
        _ dataset: Dataset,
        for audience: Audience,
        ks: [Int],
        slices: [String] = [],
        sliceK: Int? = nil,
        part: Part = .test
    ) throws(PredictorError) {
        self.dataset = dataset
        self.audience = audience
        self.ks = ks.sorted()
        self.sliceK = sliceK ?? ks.min() ?? 10
        test = TestQueries(dataset, for: audience, part: part)
        guard !test.queries.isEmpty else {
            throw .input(
                part == .test
                    ? "nothing to test on: the split keeps back no event that follows another"
                    : "nothing to choose by: the validation part has no event that follows another",
                hint: "choose another `dataset: split:`, or bring more events"
            )
        }
        self.slices = try Slices(slices, of: test, dataset)
        traits = try ListTraits(dataset)
    }

    /// The first of the systems is what the others are compared with.
    package func run(
        _ systems: [System],
        progress: (Double) throws -> Void = { _ in }
    ) throws -> Outcome {
        var tally = Tally(systems.count, ks: ks, slices.slices.count)
        var catalogues = systems.map { _ in ks.map { _ in CatalogueTally(dataset) } }
        var cold = systems.map { _ in 0 }
        let count = test.queries.count
        for first in stride(from: 0, to: count, by: Self.block) {
            let range = first..<min(first + Self.block, count)
            var rows = [Float](repeating: 0, count: range.count * tally.columns)
            let parts = range.map { slices.parts(ofQuery: $0, test.truths[$0]) }
            for query in range {
                let row = (query - first) * tally.columns
                addShared(query, parts[query - first], tally, &rows, row)
            }
            for (place, system) in systems.enumerated() {
                let done = { (share: Double) throws in
                    let part = (Double(place) + share) / Double(systems.count)
                    try progress((Double(first) + part * Double(range.count)) / Double(count))
                }
                for (query, list) in zip(
                    range,
                    try lists(system.ranker, Array(test.queries[range]), done)
                ) {
                    if list.isCold { cold[place] += 1 }
                    let row = (query - first) * tally.columns
                    add(list.items, query, parts[query - first], place, tally, &rows, row)
                    for (k, length) in ks.enumerated() {
                        catalogues[place][k].add(
                            list.items.prefix(length),
                            query: test.numbers[query]
                        )
                    }
                }
            }
            tally.sums.add(rows)
        }
        try progress(1)
        return outcome(systems, tally, catalogues, cold)
    }

    func lists(
        _ ranker: Ranker,
        _ queries: [Query],
        _ progress: (Double) throws -> Void
    ) throws -> [RankedList] {
        switch audience {
        case .users, .sessions: try ranker.lists(for: queries, progress: progress)
        case .items: try lists(ofItems: queries.compactMap(\.history.first), ranker, progress)
        }
    }

    /// One list for all who ask for the same item beside each other.
    private func lists(
        ofItems items: [Int32],
        _ ranker: Ranker,
        _ progress: (Double) throws -> Void
    ) throws -> [RankedList] {
        var distinct: [Int32] = []
        let places = items.map { item in
            if distinct.last != item { distinct.append(item) }
            return distinct.count - 1
        }
        let lists = try ranker.lists(forItems: distinct, progress: progress)
        return places.map { lists[$0] }
    }

    // MARK: columns

    /// Which column holds what is added up of a query.
    private struct Tally {
        /// Of each system and length, behind the metrics of `ListScore`.
        enum Trait: Int, CaseIterable {
            /// Lists with something in them.
            case lists
            case novelty
            case popularity
            /// Lists of two items or more, where items have categories.
            case pairs
            case diversity
        }
        var sums: Resampling
        private let ks: Int
        private let slices: Int

        init(_ systems: Int, ks: [Int], _ slices: Int) {
            self.ks = ks.count
            self.slices = slices
            let ofSystem = ks.count * Self.ofLength + slices * EvaluationReport.slicedMetrics.count
            sums = Resampling(columns: 2 + slices + systems * ofSystem)
        }

        private static var ofLength: Int { ListScore.metrics.count + Trait.allCases.count }

        var columns: Int { sums.columns }
        var one: Int { 0 }
        var historyPopularity: Int { 1 }
        func slice(_ slice: Int) -> Int { 2 + slice }

        private func first(_ system: Int) -> Int {
            2 + slices + system
                * (ks * Self.ofLength + slices * EvaluationReport.slicedMetrics.count)
        }

        func metric(_ metric: Int, _ k: Int, of system: Int) -> Int {
            first(system) + k * Self.ofLength + metric
        }

        func trait(_ trait: Trait, _ k: Int, of system: Int) -> Int {
            metric(ListScore.metrics.count + trait.rawValue, k, of: system)
        }

        func slice(_ slice: Int, _ metric: Int, of system: Int) -> Int {
            first(system) + ks * Self.ofLength + slice * EvaluationReport.slicedMetrics.count
                + metric
        }
    }

    private func addShared(
        _ query: Int,
        _ parts: [Slices.Share],
        _ tally: Tally,
        _ rows: inout [Float],
        _ row: Int
    ) {
        rows[row + tally.one] = 1
        rows[row + tally.historyPopularity] = traits.popularity(of: test.queries[query].history)
        for part in parts {
            rows[row + tally.slice(part.slice)] = 1
        }
    }

    private func add(
        _ list: [Int32],
        _ query: Int,
        _ parts: [Slices.Share],
        _ system: Int,
        _ tally: Tally,
        _ rows: inout [Float],
        _ row: Int
    ) {
        let truth = test.truths[query]
        for (place, k) in ks.enumerated() {
            let score = ListScore(list, truth: truth, k: k)
            for (metric, (_, value)) in ListScore.metrics.enumerated() {
                rows[row + tally.metric(metric, place, of: system)] = Float(value(score))
            }
            let items = list.prefix(k)
            func set(_ trait: Tally.Trait, _ value: Float) {
                rows[row + tally.trait(trait, place, of: system)] = value
            }
            guard !items.isEmpty else { continue }
            set(.lists, 1)
            set(.novelty, traits.novelty(of: items))
            // Beside what was had; who had nothing has nothing to stand beside.
            if !test.queries[query].history.isEmpty {
                set(.popularity, traits.popularity(of: items))
            }
            if let diversity = traits.diversity(of: items) {
                set(.pairs, 1)
                set(.diversity, diversity)
            }
        }
        for part in parts {
            let score = ListScore(list, truth: part.truth, k: sliceK)
            for (place, value) in [score.hitRate, score.recall, score.ndcg].enumerated() {
                rows[row + tally.slice(part.slice, place, of: system)] = Float(value)
            }
        }
    }

    // MARK: figures

    private func outcome(
        _ systems: [System],
        _ tally: Tally,
        _ catalogues: [[CatalogueTally]],
        _ cold: [Int]
    ) -> Outcome {
        var report = EvaluationReport()
        report.ks = ks
        report.sliceK = sliceK
        report.queries = test.queries.count
        report.order = test.order
        report.slices = slices.slices
        if let rows = systems.first?.rows {
            let truths = test.truths.reduce(0) { $0 + $1.count }
            let unknown = test.truths.reduce(0) { sum, truth in
                sum + truth.count { rows[Int($0)] < 0 }
            }
            report.unknownTruths = Double(unknown) / Double(truths)
        }
        var figures: [String: [String: Replicated]] = [:]
        for (place, system) in systems.enumerated() {
            let own = self.figures(place, tally, catalogues[place])
            var row = EvaluationReport.System(name: system.name)
            row.metrics = own.mapValues(\.estimate)
            row.coldQueries = cold[place]
            if place > 0, let first = figures[systems[0].name] {
                for (name, figure) in own {
                    row.differences[name] = first[name]?.difference(from: figure)
                }
            }
            figures[system.name] = own
            report.systems.append(row)
        }
        return Outcome(report: report, figures: figures)
    }

    private func figures(
        _ system: Int,
        _ tally: Tally,
        _ catalogues: [CatalogueTally]
    ) -> [String: Replicated] {
        let sums = tally.sums
        var figures: [String: Replicated] = [:]
        for (place, k) in ks.enumerated() {
            for (metric, (name, _)) in ListScore.metrics.enumerated() {
                figures["\(name)@\(k)"] = sums.ratio(
                    tally.metric(metric, place, of: system),
                    of: tally.one
                )
            }
            func trait(_ trait: Tally.Trait) -> Int { tally.trait(trait, place, of: system) }
            figures["novelty@\(k)"] = sums.ratio(trait(.novelty), of: trait(.lists))
            let popularity = trait(.popularity)
            figures["popularity-bias@\(k)"] = sums.replicated {
                $0(popularity) / $0(tally.historyPopularity) - 1
            }
            if traits.hasDiversity {
                figures["diversity@\(k)"] = sums.ratio(trait(.diversity), of: trait(.pairs))
            }
            figures["coverage@\(k)"] = catalogues[place].coverage
            figures["gini@\(k)"] = catalogues[place].gini
        }
        for (place, slice) in slices.slices.enumerated() where slice.queries > 0 {
            for (metric, name) in EvaluationReport.slicedMetrics.enumerated() {
                figures["\(name)@\(sliceK)[\(slice.name)]"] = sums.ratio(
                    tally.slice(place, metric, of: system),
                    of: tally.slice(place)
                )
            }
        }
        for dimension in Set(slices.slices.map(\.dimension)) {
            let members = slices.slices.indices.filter {
                slices.slices[$0].dimension == dimension && slices.slices[$0].queries > 0
            }
            guard members.count > 1 else { continue }
            figures["mred@\(sliceK)[\(dimension)]"] = sums.replicated { sum in
                Self.missRateDifference(
                    members.map { (sum(tally.slice($0, 0, of: system)), sum(tally.slice($0))) }
                )
            }
        }
        return figures.filter { $0.value.value.isFinite }
    }

    /// The mean, over the slices of a dimension, of how far their miss rates are from that of all.
    ///
    /// Miss rate equality difference (Tagliabue et al. 2022, EvalRS), without its sign.
    static func missRateDifference(_ slices: [(hits: Double, queries: Double)]) -> Double {
        let asked = slices.filter { $0.queries > 0 }
        let all = asked.reduce(0) { $0 + $1.hits } / asked.reduce(0) { $0 + $1.queries }
        return asked.reduce(0) { $0 + abs($1.hits / $1.queries - all) } / Double(asked.count)
    }
}
