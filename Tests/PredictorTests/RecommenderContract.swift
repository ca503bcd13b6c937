// SPDX-License-Identifier: Apache-2.0
import TestSupport
import Testing

@testable import Predictor

/// What every personal model must do on a data set whose right answer is known.
struct RecommenderContract {
    static let models: [(name: String, skipGram: Bool)] = [("cbow", false), ("skip-gram", true)]

    private let dataset: Dataset

    init() throws {
        let folder = try TemporaryFolder()
        let path = try folder.write(Checkerboard.csv(), to: "events.csv")
        dataset = try DatasetBuilder.build(Checkerboard.settings(path)).0
    }

    private func settings(_ skipGram: Bool) -> Prod2VecSettings {
        var settings = Prod2VecSettings()
        settings.vectorSize = 16
        settings.minCount = 1
        settings.epochs = 200
        settings.sample = 0
        settings.skipGram = skipGram
        return settings
    }

    @Test(arguments: models)
    func `everyone is offered items of the own colour`(_ model: (name: String, skipGram: Bool))
        throws
    {
        let trained = try Prod2Vec.train(dataset, on: .all, settings(model.skipGram))
        let histories = (0..<dataset.users.count).map { user in
            Array(dataset.eventItems[dataset.events(ofUser: user)])
        }
        let lists = try Ranker(trained, fallback: trained, ListRules(k: 1))
            .lists(forHistories: histories)
        let right = zip(histories, lists).count { history, list in
            colour(list.items.first) == colour(history.first)
        }
        #expect(right >= dataset.users.count * 9 / 10)
        for (history, list) in zip(histories, lists) {
            #expect(!history.contains(list.items[0]))
        }
    }

    private func colour(_ item: Int32?) -> Int? {
        item.flatMap { Int(dataset.items[Int($0)].dropFirst()) }.map { $0 % 2 }
    }

    @Test func `one thread gives the same bits each time, another seed others`() throws {
        var settings = settings(false)
        settings.epochs = 3
        let first = try Prod2Vec.train(dataset, on: .all, settings)
        let again = try Prod2Vec.train(dataset, on: .all, settings)
        settings.seed = 2
        let other = try Prod2Vec.train(dataset, on: .all, settings)
        #expect(again.vectors == first.vectors)
        #expect(other.vectors != first.vectors)
    }

    @Test func `several threads learn as well`() throws {
        var settings = settings(false)
        settings.threads = 3
        var last = 0.0
        let model = try Prod2Vec.train(dataset, on: .all, settings) { last = $0.fraction }
        #expect(model.vectors.values.allSatisfy { $0.isFinite })
        #expect(last > 0)
    }

    @Test func `training stops when told to`() {
        struct Stop: Error {}
        #expect(throws: Stop.self) {
            _ = try Prod2Vec.train(dataset, on: .all, settings(false)) { _ in throw Stop() }
        }
    }

    @Test func `items all below min-count are an error with a cure`() {
        var settings = settings(false)
        settings.minCount = 1000
        let strict = settings
        let error = #expect(throws: PredictorError.self) {
            _ = try Prod2Vec.train(dataset, on: .all, strict)
        }
        #expect(
            error?.description.contains("none of the 20 items occurs at least 1000 times") == true
        )
        #expect(error?.description.contains("min-count") == true)
    }

    @Test func `a model on disk is the model that was written`() throws {
        let folder = try TemporaryFolder()
        let model = Popularity.train(dataset, on: .all)
        try model.write(to: folder.path)
        let read = try RetrievalModel(
            kind: model.kind,
            from: folder.path,
            itemCount: dataset.items.count
        )
        #expect(
            read.vectors == model.vectors && read.items == model.items && read.rows == model.rows
        )
    }

    @Test func `who is unknown to the model gets the popularity list, and it says so`() throws {
        let items = Int32(dataset.items.count)
        let known = RetrievalModel(
            kind: Prod2Vec.kind,
            vectors: Matrix(rows: 1, columns: 1, values: [1]),
            items: [3],
            itemCount: Int(items)
        )
        let popular = Popularity.train(dataset, on: .all)
        let ranker = Ranker(known, fallback: popular, ListRules(k: 5))
        let lists = try ranker.lists(forHistories: [[7], [3], []])
        #expect(lists.map(\.isCold) == [true, false, true])
        #expect(lists[0].items.count == 5 && !lists[0].items.contains(7))
        #expect(lists[1].items.isEmpty)
        #expect(lists[2].items == (try ranker.defaultList().items))
    }

    @Test func `only the newest events make the query, and all are hidden`() throws {
        let vectors = Matrix(rows: 4, columns: 2, values: [1, 0, 0.9, 0.1, 0, 1, 0.1, 0.9])
        let model = RetrievalModel(
            kind: Prod2Vec.kind,
            vectors: vectors,
            items: [0, 1, 2, 3],
            itemCount: 4
        )
        let ranker = Ranker(model, fallback: model, ListRules(k: 4, history: 1))
        #expect(try ranker.lists(forHistories: [[0, 2]])[0].items == [3, 1])
        let open = Ranker(model, fallback: model, ListRules(k: 4, excludesSeen: false, history: 1))
        #expect(try open.lists(forHistories: [[0, 2]])[0].items.first == 2)
    }

    @Test func `popularity measured against itself makes no difference`() throws {
        let popular = Popularity.train(dataset, on: .forTraining)
        let report = try Evaluation.run(
            popular,
            baseline: popular,
            on: dataset,
            for: .users,
            ListRules(k: 5),
            ks: [1, 5]
        )
        #expect(report.queries == dataset.users.count)
        #expect(report.difference["recall@5"] == Estimate(value: 0, low: 0, high: 0))
        #expect(report.verdict("recall@5") == "not distinguishable from popularity")
        #expect((report.model["recall@5"]?.value ?? 0) >= (report.model["recall@1"]?.value ?? 1))
    }

    @Test func `a split that keeps nothing back is an error with a cure`() throws {
        let folder = try TemporaryFolder()
        let path = try folder.write("user,item,time\na,x,1\nb,y,2\n", to: "one.csv")
        let lonely = try DatasetBuilder.build(Checkerboard.settings(path)).0
        let popular = Popularity.train(lonely, on: .all)
        let error = #expect(throws: PredictorError.self) {
            _ = try Evaluation.run(
                popular,
                baseline: popular,
                on: lonely,
                for: .users,
                ListRules(k: 5),
                ks: [5]
            )
        }
        #expect(error?.description.contains("nothing to test on") == true)
    }
}
