// SPDX-License-Identifier: Apache-2.0
import Glibc
import Synchronization
import Tables
import TestSupport
import Testing

@testable import Predictor

/// Lists that were written down.
private struct Written: Recommender, Searcher {
    let kind = "written"
    let items: [Int32] = []
    let rows: [Int32]
    /// By user.
    let lists: [[Int32]]

    func searcher(on gpu: GPU?) -> any Searcher { self }
    func write(to folder: String) {}

    func lists(
        _ queries: [Query],
        hidden: [[Int32]],
        k: Int,
        progress: (Double) throws -> Void
    ) throws -> [RankedList?] {
        queries.map { query in
            let list = lists[Int(query.user ?? 0)].prefix(k)
            return RankedList(
                items: Array(list),
                scores: list.map { _ in 0 },
                isCold: list.isEmpty
            )
        }
    }
}

/// Beside other people's programs, see Tests/rectools_metrics.py.
struct EvaluationTests {
    private static let users = 60
    private static let items = 40

    private static func distinct(_ values: some Sequence<Int>, _ count: Int) -> [Int] {
        var seen: Set<Int> = []
        return Array(values.filter { seen.insert($0).inserted }.prefix(count))
    }

    private static func had(_ user: Int) -> [Int] {
        distinct((0..<40).map { (user * 7 + $0 * $0 * 3 + $0) % items }, 5 + user % 4)
    }

    private static func keptBack(_ user: Int) -> [Int] { had(user).suffix(1 + user % 3) }

    private static func listed(_ user: Int) -> [Int] {
        distinct((0..<60).map { (user % 9 * 11 + $0 * $0 * 3 + $0) % 31 }, 10)
    }

    private let dataset: Dataset
    private let written: Written

    init() throws {
        let folder = try TemporaryFolder()
        var lines = ["user,item,time,part"]
        for user in 0..<Self.users {
            let kept = Self.keptBack(user)
            for (place, item) in Self.had(user).enumerated() {
                let part = kept.contains(item) ? "test" : "train"
                lines.append("u\(user),i\(item),\(1000 + place),\(part)")
            }
        }
        let table =
            ["item,three,four,price"]
            + (0..<Self.items).map { "i\($0),t\($0 % 3),f\($0 % 4),\($0)" }
        let ages = ["user,age"] + (0..<Self.users).map { "u\($0),\($0)" }
        var settings = Checkerboard.settings(
            try folder.write(lines.joined(separator: "\n"), to: "events.csv"),
            split: .column("part", validation: "validation", test: "test")
        )
        settings.items = EntityTable(
            table: TableSource(
                .csv,
                try folder.write(table.joined(separator: "\n"), to: "items.csv")
            ),
            id: "item"
        )
        settings.users = EntityTable(
            table: TableSource(
                .csv,
                try folder.write(ages.joined(separator: "\n"), to: "users.csv")
            ),
            id: "user"
        )
        settings.features = [
            Feature("three", of: .items, .category(.init(column: "three"))),
            Feature("four", of: .items, .category(.init(column: "four"))),
            Feature("price", of: .items, .number(column: "price", .init())),
            Feature("age", of: .users, .number(column: "age", .init())),
        ]
        let built = try settings.built().dataset
        dataset = built
        written = Written(
            rows: [Int32](repeating: 0, count: built.items.count),
            lists: (0..<Self.users).map { row in
                let user = Int(built.users[row].dropFirst()) ?? 0
                return Self.listed(user).map { Int32(built.items.index(of: "i\($0)") ?? -1) }
            }
        )
    }

    private func system(_ name: String, _ lists: Written) throws -> Evaluation.System {
        let popular = Popularity.train(dataset, on: .forTraining)
        return Evaluation.System(
            name,
            try Ranker(lists, fallback: popular, ListRules(k: 10)),
            rows: lists.rows
        )
    }

    @Test func `figures are those of ranx, RecTools and numpy`() throws {
        let outcome = try Evaluation(dataset, for: .users, ks: [5, 10])
            .run([try system("model", written)])
        let expected = [
            "hit-rate@5": 0.283333333, "recall@5": 0.15, "precision@5": 0.06,
            "ndcg@5": 0.10700736, "mrr@5": 0.131388889, "map@5": 0.069953704,
            "hit-rate@10": 0.466666667, "recall@10": 0.266666667, "precision@10": 0.053333333,
            "ndcg@10": 0.152166045, "mrr@10": 0.155575397, "map@10": 0.086983025,
            "novelty@5": 3.169022944, "coverage@5": 0.75, "gini@5": 0.408666667,
            "diversity@5": 0.788333333, "novelty@10": 3.187984793, "coverage@10": 0.775,
            "gini@10": 0.399, "diversity@10": 0.723148148,
            // AvgRecPopularity over that of what each user had.
            "popularity-bias@5": 6.856666667 / 7.126349206 - 1,
            "popularity-bias@10": 6.788333333 / 7.126349206 - 1,
        ]
        for (name, value) in expected {
            let found = try #require(outcome.report.model[name], "\(name)")
            #expect(abs(found.value - value) < 2e-6, "\(name): \(found.value), not \(value)")
            #expect(found.low <= found.value && found.value <= found.high, "\(name)")
        }
        #expect(outcome.report.queries == Self.users)
    }

    /// A plain count, query by query.
    private func hits(
        _ k: Int,
        isAsked: (Int) -> Bool = { _ in true },
        isWanted: (Int) -> Bool = { _ in true }
    ) -> (hits: Int, recall: Double, queries: Int) {
        var sums = (hits: 0, recall: 0.0, queries: 0)
        for user in 0..<Self.users where isAsked(user) {
            let truth = Self.keptBack(user).filter(isWanted)
            guard !truth.isEmpty else { continue }
            let found = Self.listed(user).prefix(k).count { truth.contains($0) }
            sums.queries += 1
            sums.hits += found > 0 ? 1 : 0
            sums.recall += Double(found) / Double(truth.count)
        }
        return sums
    }

    @Test func `slices are those of a plain count`() throws {
        let report = try Evaluation(
            dataset,
            for: .users,
            ks: [10],
            slices: ["item-popularity", "user-activity", "three", "age"]
        )
        .run([try system("model", written)]).report
        func check(_ slice: String, _ plain: (hits: Int, recall: Double, queries: Int)) throws {
            let found = try #require(report.slices.first { $0.name == slice })
            #expect(found.queries == plain.queries, "\(slice)")
            let hitRate = try #require(report.model["hit-rate@10[\(slice)]"])
            #expect(abs(hitRate.value - Double(plain.hits) / Double(plain.queries)) < 1e-6)
            let recall = try #require(report.model["recall@10[\(slice)]"])
            #expect(abs(recall.value - plain.recall / Double(plain.queries)) < 1e-6)
        }
        for kind in 0..<3 { try check("three=t\(kind)", hits(10, isWanted: { $0 % 3 == kind })) }
        try check("age=low", hits(10, isAsked: { $0 <= 19 }))
        try check("age=high", hits(10, isAsked: { $0 > 39 }))
        let lengths = (0..<Self.users).map { Self.had($0).count - Self.keptBack($0).count }
        let bounds = [lengths.sorted()[19], lengths.sorted()[39]]
        try check("user-activity=low", hits(10, isAsked: { lengths[$0] <= bounds[0] }))
        try check("user-activity=high", hits(10, isAsked: { lengths[$0] > bounds[1] }))
        // All of the training events are in the three slices, a third in each but for one item.
        let thirds = report.slices.filter { $0.dimension == "item-popularity" }
        #expect(thirds.map(\.value) == ["head", "middle", "tail", "new"])
        let parts = (0..<3).map { kind in hits(10, isWanted: { $0 % 3 == kind }) }
        let all =
            Double(parts.reduce(0) { $0 + $1.hits }) / Double(parts.reduce(0) { $0 + $1.queries })
        let gap = parts.reduce(0) { $0 + abs(Double($1.hits) / Double($1.queries) - all) } / 3
        let mred = try #require(report.model["mred@10[three]"])
        #expect(abs(mred.value - gap) < 1e-6)
    }

    @Test func `a feature that is not there cannot be sliced by`() {
        let error = #expect(throws: PredictorError.self) {
            _ = try Evaluation(dataset, for: .users, ks: [10], slices: ["colour"])
        }
        #expect(error?.description.contains("have no such feature") == true)
    }

    @Test func `a better system is told from the first, metric by metric`() throws {
        var better = written.lists
        // Every third user's list begins with what came.
        for row in better.indices where row % 3 == 0 {
            let user = Int(dataset.users[row].dropFirst()) ?? 0
            let truth = Self.keptBack(user).map { Int32(dataset.items.index(of: "i\($0)") ?? -1) }
            better[row] = truth + better[row].filter { !truth.contains($0) }
        }
        let evaluation = try Evaluation(dataset, for: .users, ks: [10])
        let outcome = try evaluation.run([
            try system("model", Written(rows: written.rows, lists: better)),
            try system("live", written),
        ])
        #expect(outcome.report.verdict("ndcg@10", against: "live") == "better than live")
        let difference = try #require(outcome.report.system("live")?.differences["recall@10"])
        #expect(difference.value > 0.2 && difference.probability > 0.999)
        // Measured another day, on the same queries: the same difference.
        let again = try evaluation.run([try system("live", written)])
        let figure = try #require(outcome.figures["model"]?["recall@10"])
        let other = try #require(again.figures["live"]?["recall@10"])
        #expect(figure.difference(from: other) == difference)
    }

    /// Vectors on a circle: near numbers are near items.
    private var circle: RetrievalModel {
        let count = dataset.items.count
        return RetrievalModel(
            kind: Prod2Vec.kind,
            vectors: Matrix(
                rows: count,
                columns: 2,
                values: (0..<count).flatMap { item -> [Float] in
                    let turn = Float(Int(dataset.items[item].dropFirst()) ?? 0) * 0.15
                    return [cosf(turn), sinf(turn)]
                }
            ),
            items: (0..<Int32(count)).map { $0 },
            itemCount: count
        )
    }

    @Test func `behaviour is that of plain loops`() throws {
        let popular = Popularity.train(dataset, on: .forTraining)
        let ranker = try Ranker(circle, fallback: popular, ListRules(k: 10))
        let behaviour = try Evaluation(dataset, for: .users, ks: [5, 10])
            .behaviour(of: Evaluation.System("model", ranker), circle, k: 5)
        func number(_ item: Int32) -> Int { Int(dataset.items[Int(item)].dropFirst()) ?? 0 }
        var sums: [String: (sum: Double, count: Int)] = [:]
        func add(_ name: String, _ value: Double) {
            sums[name, default: (0, 0)].sum += value
            sums[name, default: (0, 0)].count += 1
        }
        let spread = (Double(Self.items * Self.items - 1) / 12).squareRoot()
        for row in 0..<Self.users {
            let user = Int(dataset.users[row].dropFirst()) ?? 0
            let before = Self.had(user).dropLast(1 + user % 3)
            let kept = Self.keptBack(user)
            let history = before.map { Int32(dataset.items.index(of: "i\($0)") ?? -1) }
            let list = try ranker.lists(for: [Query(history: history)])[0].items.prefix(5).map(
                number
            )
            let newest = try #require(before.last)
            let less = try ranker.lists(for: [Query(history: history.dropLast())])[0].items
                .map(number).filter { !before.contains($0) }.prefix(5)
            add("shuffle-overlap@5", 1)
            add("trim-overlap@5", Double(Set(list).intersection(less).count) / 5)
            let apart = list.map { 1 - cos(0.15 * Double($0 - newest)) }
            add("distance-to-query@5", apart.reduce(0, +) / 5)
            let alike = list.count { $0 % 3 == newest % 3 || $0 % 4 == newest % 4 }
            add("category-match@5", Double(alike) / 5)
            let far = list.reduce(0.0) { $0 + Double(abs($1 - newest)) }
            add("feature-distance@5[price]", far / 5 / spread)
            if !list.contains(where: kept.contains) {
                add("less-wrong@5", kept.map { cos(0.15 * Double(list[0] - $0)) }.max() ?? 0)
            }
        }
        #expect(Set(behaviour.figures.keys) == Set(sums.keys))
        for (name, plain) in sums {
            let found = try #require(behaviour.figures[name])
            #expect(
                abs(found.value - plain.sum / Double(plain.count)) < 1e-4,
                "\(name): \(found.value)"
            )
        }
        #expect(behaviour.answers.count == 10)
        #expect(behaviour.answers.prefix(5).allSatisfy { $0.rank != nil })
        #expect(behaviour.answers.suffix(5).allSatisfy { $0.rank == nil && $0.list.count == 5 })
    }

    @Test func `the order of a history matters to what reads the newest only`() throws {
        let popular = Popularity.train(dataset, on: .forTraining)
        let ranker = try Ranker(circle, fallback: popular, ListRules(k: 5, history: 1))
        let figures = try Evaluation(dataset, for: .users, ks: [5])
            .behaviour(of: Evaluation.System("model", ranker), popular, k: 5).figures
        #expect((figures["shuffle-overlap@5"]?.value ?? 1) < 0.8)
        // Popularity is one number an item: nothing is near anything.
        #expect(figures["less-wrong@5"] == nil)
    }

    @Test func `Gini is what it says at its ends`() {
        #expect(CatalogueTally.gini([3, 3, 3]) == 0)
        #expect(abs(CatalogueTally.gini([0, 0, 0, 9]) - 0.75) < 1e-12)
        #expect(CatalogueTally.gini([0, 0]) == 0)
    }

    @Test func `what an earlier training part had of the test part is counted`() throws {
        func built(_ split: Split, more: String = "") throws -> Dataset {
            let folder = try TemporaryFolder()
            let path = try folder.write(Checkerboard.csv(users: 200) + more, to: "events.csv")
            return try Checkerboard.settings(path, split: split).built().dataset
        }
        let last = try built(.leaveLastOne(validation: false))
        #expect(last.shareOfTest(inTrainingOf: last) == 0)
        let later = try built(
            .leaveLastOne(validation: false),
            more: (0..<200).map { "u\($0),i0,9000\n" }.joined()
        )
        // The newest events are new to what was trained before.
        #expect(later.shareOfTest(inTrainingOf: last) == 0)
        #expect(last.shareOfTest(inTrainingOf: later) == 1)
        let users = Split.users(validation: 0, test: 0.2, seed: 1)
        let shuffled = try built(users)
        let again = try built(users, more: "stranger,i0,9000\nstranger,i2,9001\n")
        #expect(again.shareOfTest(inTrainingOf: shuffled) > 0.3)
    }

    @Test func `recent popularity is of the newest tenth, then of all`() throws {
        let folder = try TemporaryFolder()
        // Twenty events: x was popular, y is; z is rare.
        let events =
            (0..<17).map { "u\($0),x,\($0)" } + ["u0,z,17", "u1,y,18", "u2,y,19"]
        let path = try folder.write(
            "user,item,time\n" + events.joined(separator: "\n"),
            to: "events.csv"
        )
        let dataset = try Checkerboard.settings(path).built().dataset
        let model = try Baseline.recentPopularity.train(dataset, on: .all) { _ in }
        let popular = Popularity.train(dataset, on: .all)
        let list = try Ranker(model, fallback: popular, ListRules(k: 3)).defaultList()
        _ = list
        let lists = try model.searcher().lists([Query(history: [])], hidden: [[]], k: 3) { _ in }
        #expect(lists[0]?.items.map { dataset.items[Int($0)] } == ["y", "z", "x"])
    }

    @Test func `of items, each question counts, and a list is made once`() throws {
        // Forty users end with one of five items after one of three.
        let folder = try TemporaryFolder()
        var lines = ["user,item,time"]
        for user in 0..<40 {
            let items = [user * 3 % 5 + 3, user % 7 + 10, user % 3, user % 5 + 3]
            for (place, item) in items.enumerated() {
                lines.append("u\(user),i\(item),\(place)")
            }
        }
        let path = try folder.write(lines.joined(separator: "\n") + "\n", to: "events.csv")
        let dataset = try Checkerboard.settings(path).built().dataset
        let model = try ItemKNN.train(dataset, on: .forTraining, ItemKNNSettings())
        let popular = Popularity.train(dataset, on: .forTraining)
        let ranker = try Ranker(model, fallback: popular, ListRules(k: 4))
        let counted = Mutex(0)
        let report = try Evaluation(dataset, for: .items, ks: [4]).run(
            [
                .init(
                    EvaluationReport.model,
                    try Ranker(
                        Counting(base: model, asked: { count in counted.withLock { $0 += count } }),
                        fallback: popular,
                        ListRules(k: 4)
                    )
                )
            ]
        ).report
        #expect(report.queries == 40 && counted.withLock { $0 } == 3)
        // Sorted by their items, and known by their numbers.
        let test = TestQueries(dataset, for: .items)
        #expect(test.numbers.sorted() == Array(0..<40) && test.numbers != Array(0..<40))
        let asked = test.queries.map { $0.history[0] }
        #expect(
            asked == asked.sorted()
                && test.numbers.prefix(10).sorted() == Array(test.numbers.prefix(10))
        )
        // Draws of a report in another order are not those of this one.
        #expect(report.order == 2)
        #expect(
            try Evaluation(dataset, for: .users, ks: [4]).run([.init("model", ranker)]).report.order
                == nil
        )
        let hits = try (0..<40).map { user -> Double in
            func index(_ item: Int) -> Int32 { Int32(dataset.items.index(of: "i\(item)") ?? -1) }
            let list = try ranker.lists(forItems: [index(user % 3)])[0].items
            return list.contains(index(user % 5 + 3)) ? 1 : 0
        }
        let mean = hits.reduce(0, +) / 40
        #expect(mean > 0 && abs((report.model["hit-rate@4"]?.value ?? 0) - mean) < 1e-6)
    }
}

/// A model, and how many lists it is asked for.
private struct Counting: Recommender, Searcher {
    let base: NeighbourModel
    let asked: @Sendable (Int) -> Void
    var kind: String { base.kind }
    var items: [Int32] { base.items }
    var rows: [Int32] { base.rows }

    func searcher(on gpu: GPU?) -> any Searcher { self }
    func write(to folder: String) {}

    func lists(
        _ queries: [Query],
        hidden: [[Int32]],
        k: Int,
        progress: (Double) throws -> Void
    ) throws -> [RankedList?] {
        asked(queries.count)
        return try base.searcher().lists(queries, hidden: hidden, k: k, progress: progress)
    }
}
