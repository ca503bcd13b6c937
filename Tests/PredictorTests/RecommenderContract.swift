// SPDX-License-Identifier: Apache-2.0
import TestSupport
import Tables
import Testing

@testable import Predictor

/// What every personal model must do on a data set whose right answer is known.
struct RecommenderContract {
    /// Whatever can be trained, by its name.
    enum Kind: String, CaseIterable, CustomTestStringConvertible {
        case cbow
        case skipGram
        case als
        case itemKNN
        case twoTower
        case sessionTransformer
        case maskedSessions
        case sampledSessions

        var testDescription: String { rawValue }
    }

    private func train(_ kind: Kind, on gpu: GPU? = nil) throws -> any Recommender {
        switch kind {
        case .cbow: return try Prod2Vec.train(dataset, on: .all, settings(false))
        case .skipGram: return try Prod2Vec.train(dataset, on: .all, settings(true))
        case .als:
            var settings = ALSSettings()
            settings.factors = 8
            settings.alpha = 10
            return try ALS.train(dataset, on: .all, settings)
        case .itemKNN: return try ItemKNN.train(dataset, on: .all, ItemKNNSettings())
        case .twoTower:
            var settings = TwoTowerSettings()
            settings.embedding = 8
            settings.towers = [16, 8]
            settings.optimiser.kind = .adamw
            settings.optimiser.learningRate = 0.01
            settings.training.epochs = 60
            settings.training.batch = 60
            return try TwoTower.train(dataset, on: .all, settings, gpu: gpu).model
        case .sessionTransformer, .maskedSessions, .sampledSessions:
            var settings = SessionTransformerSettings()
            settings.masking = kind == .maskedSessions ? .mlm : .causal
            settings.sampledNegatives = kind == .sampledSessions ? 5 : 0
            settings.width = 16
            settings.inner = 32
            settings.dropout = 0.1
            settings.optimiser.learningRate = 0.005
            settings.training.epochs = 60
            settings.training.batch = 20
            return try SessionTransformer.train(dataset, on: .all, settings, gpu: gpu).model
        }
    }

    /// Whether the scores of two users for one item say which of them it fits better.
    private static func comparesUsers(_ kind: Kind) -> Bool {
        switch kind {
        case .cbow, .skipGram, .als, .twoTower: true
        case .itemKNN, .sessionTransformer, .maskedSessions, .sampledSessions: false
        }
    }

    private let dataset: Dataset

    init() throws {
        let folder = try TemporaryFolder()
        let path = try folder.write(Checkerboard.csv(), to: "events.csv")
        dataset = try Checkerboard.settings(path).built().dataset
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

    @Test(arguments: Kind.allCases)
    func `everyone is offered items of the own colour`(_ kind: Kind) throws {
        try offersOwnColour(kind)
    }

    /// `gpu`: where networks are trained and lists made.
    func offersOwnColour(_ kind: Kind, on gpu: GPU? = nil) throws {
        let trained = try train(kind, on: gpu)
        let histories = (0..<dataset.users.count).map { user in
            Array(dataset.eventItems[dataset.events(ofUser: user)])
        }
        let lists = try Ranker(trained, fallback: trained, ListRules(k: 1), on: gpu).lists(
            for: histories.enumerated().map { Query(user: Int32($0), history: $1) }
        )
        let right = zip(histories, lists).count { history, list in
            colour(list.items.first) == colour(history.first)
        }
        #expect(right >= dataset.users.count * 9 / 10)
        for (history, list) in zip(histories, lists) {
            #expect(!history.contains(list.items[0]))
        }
    }

    @Test(arguments: Kind.allCases)
    func `users that fit an item are found by the scores that find items for users`(_ kind: Kind)
        throws
    {
        let model = try train(kind)
        let fallback = Popularity.train(dataset, on: .all)
        let (users, items) = (dataset.users.count, dataset.items.count)
        guard Self.comparesUsers(kind) else {
            let error = #expect(throws: PredictorError.self) {
                try model.inverse(of: dataset, on: .all, history: .max)
            }
            #expect(error?.description.contains("\(model.kind), has no vectors of users") == true)
            return
        }
        let rules = ListRules(k: max(users, items), excludesSeen: false)
        let lists = try Ranker(model, fallback: fallback, rules).lists(
            for: (0..<users).map {
                Query(user: Int32($0), events: dataset.events(ofUser: $0), of: dataset)
            }
        )
        // The plain twin: every score, by item.
        var scores = [[Float]](repeating: [Float](repeating: .nan, count: users), count: items)
        for (user, list) in lists.enumerated() {
            for (item, score) in zip(list.items, list.scores) { scores[Int(item)][user] = score }
        }
        let inverse = try model.inverse(of: dataset, on: .all, history: .max)
        let turned = dataset.transposed()
        func audiences(_ rules: ListRules) throws -> [RankedList] {
            try Ranker(inverse, fallback: Popularity.train(turned, on: .all), rules).lists(
                for: (0..<items).map {
                    Query(user: Int32($0), events: turned.events(ofUser: $0), of: turned)
                }
            )
        }
        for (item, list) in try audiences(rules).enumerated() {
            #expect(list.items.count == users && Set(list.items).count == users)
            for (user, score) in zip(list.items, list.scores) {
                #expect(abs(score - scores[item][Int(user)]) < 1e-4 * max(1, abs(score)))
            }
            #expect(zip(list.scores, list.scores.dropFirst()).allSatisfy { $0 >= $1 })
        }
        let own = try audiences(ListRules(k: 1))
        let right = own.indices.count { item in
            let user = Int(own[item].items[0])
            return colour(Int32(item))
                == colour(dataset.eventItems[dataset.events(ofUser: user).lowerBound])
        }
        #expect(right >= items * 9 / 10)
        for (item, list) in own.enumerated() {
            let had = dataset.events(ofUser: Int(list.items[0])).map { dataset.eventItems[$0] }
            #expect(!had.contains(Int32(item)))
        }
    }

    @Test(arguments: Kind.allCases)
    func `a model of an earlier dataset answers on a later one as it did`(_ kind: Kind) throws {
        let folder = try TemporaryFolder()
        let place = try TemporaryFolder()
        let events =
            Checkerboard.csv() + "stranger,i2,5000\nstranger,i4,5001\nu0,novelty,5002\n"
        let settings = Checkerboard.settings(try folder.write(events, to: "events.csv"))
        _ = try DatasetBuilder.build(
            settings,
            into: place.path,
            base: .init(users: dataset.users, items: dataset.items)
        )
        let later = try Dataset(from: place.path)
        #expect(later.users.count == dataset.users.count + 1)
        #expect(later.items.count == dataset.items.count + 1)
        let model = try train(kind)
        let earlier = try #require(EarlierModel(model, of: dataset, on: later))
        let rules = ListRules(k: 5)
        let popular = Popularity.train(dataset, on: .all)
        let own = try Ranker(model, fallback: popular, rules)
        let asked = try Ranker(
            earlier,
            fallback: Popularity.train(later, on: .all),
            rules
        )
        let users = Array(0..<dataset.users.count)
        // u0 had something new, which the model cannot know.
        let before = try own.lists(
            for: users.map {
                Query(
                    user: Int32($0),
                    history: dataset.events(ofUser: $0).map { dataset.eventItems[$0] }
                )
            }
        )
        let after = try asked.lists(
            for: users.map { Query(user: Int32($0), events: later.events(ofUser: $0), of: later) }
        )
        #expect(before.map(\.items) == after.map(\.items))
        let stranger = dataset.users.count
        let list = try asked.lists(
            for: [Query(user: Int32(stranger), events: later.events(ofUser: stranger), of: later)]
        )[0]
        #expect(list.items.count == 5 && list.items.allSatisfy { $0 < dataset.items.count })
        #expect(earlier.rows.count == later.items.count && earlier.rows.last == -1)
        if Self.comparesUsers(kind) {
            let (new, old) = (
                try earlier.inverse(of: later, on: .all, history: .max),
                try model.inverse(of: dataset, on: .all, history: .max)
            )
            // Whoever came later is found by what the model knows of the history, if by anything.
            #expect(Array(new.items.prefix(old.items.count)) == old.items)
            #expect(new.items.count <= later.users.count)
        }
        // Of other ids it would answer for the wrong ones.
        let other = try Checkerboard.settings(
            folder.write("user,item,time\nx,y,1\nx,z,2\n", to: "other.csv")
        ).built().dataset
        #expect(EarlierModel(model, of: dataset, on: other) == nil)
    }

    private func colour(_ item: Int32?) -> Int? {
        item.flatMap { Int(dataset.items[Int($0)].dropFirst()) }.map { $0 % 2 }
    }

    @Test(arguments: [false, true])
    func `a training that goes on from a state ends in the same bits`(
        _ skipGram: Bool
    ) throws {
        // More than one chunk an epoch, so that the state is taken in the middle of one.
        let folder = try TemporaryFolder()
        let path = try folder.write(Checkerboard.csv(users: 3000), to: "events.csv")
        let dataset = try Checkerboard.settings(path).built().dataset
        var settings = settings(skipGram)
        settings.epochs = 3
        settings.threads = 1
        let whole = try Prod2Vec.train(dataset, on: .all, settings)
        struct Stopped: Error {}
        #expect(throws: Stopped.self) {
            _ = try Prod2Vec.train(dataset, on: .all, settings) { progress in
                if progress.fraction > 0.4 {
                    try progress.state().write(to: folder.path)
                    throw Stopped()
                }
            }
        }
        let state = try Prod2Vec.State(from: folder.path)
        #expect(state.step > 0)
        var first: Double?
        let resumed = try Prod2Vec.train(dataset, on: .all, settings, from: state) { progress in
            first = first ?? progress.fraction
        }
        #expect(try #require(first) > 0.4)
        #expect(resumed.vectors == whole.vectors)
        settings.vectorSize = 8
        #expect(throws: PredictorError.self) {
            _ = try Prod2Vec.train(dataset, on: .all, settings, from: state)
        }
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

    @Test(arguments: Kind.allCases)
    func `a model on disk makes the lists of the model that was written`(_ kind: Kind) throws {
        let folder = try TemporaryFolder()
        let model = try train(kind)
        try model.write(to: folder.path)
        let read = try RecommenderFile.read(
            kind: model.kind,
            from: folder.path,
            dataset
        )
        #expect(read.items == model.items && read.rows == model.rows)
        let queries =
            [[1], [2, 3, 2], []].map { Query(history: $0) } + [Query(user: 3, history: [1])]
        let popular = Popularity.train(dataset, on: .all)
        let lists = try [model, read].map {
            try Ranker($0, fallback: popular, ListRules(k: 5)).lists(for: queries)
        }
        #expect(lists[0] == lists[1])
        #expect(lists[0].map(\.isCold) == [false, false, true, false])
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
        let ranker = try Ranker(known, fallback: popular, ListRules(k: 5))
        let lists = try ranker.lists(for: [[7], [3], []].map { Query(history: $0) })
        #expect(lists.map(\.isCold) == [true, false, true])
        #expect(lists[0].items.count == 5 && !lists[0].items.contains(7))
        #expect(lists[1].items.isEmpty)
        #expect(lists[2].items == (try ranker.defaultList().items))
    }

    @Test func `an item that is like nothing else leads to the popularity list`() throws {
        let folder = try TemporaryFolder()
        let path = try folder.write(
            "user,item,time\na,x,1\na,y,2\nb,x,1\nb,y,2\nc,z,1\n",
            to: "events.csv"
        )
        let dataset = try Checkerboard.settings(path).built().dataset
        let model = try ItemKNN.train(dataset, on: .all, ItemKNNSettings())
        let popular = Popularity.train(dataset, on: .all)
        let (x, y, z) = (
            Int32(try #require(dataset.items.index(of: "x"))),
            Int32(try #require(dataset.items.index(of: "y"))),
            Int32(try #require(dataset.items.index(of: "z")))
        )
        let ranker = try Ranker(model, fallback: popular, ListRules(k: 5))
        #expect(try ranker.lists(for: [Query(history: [z])])[0].isCold)
        let near = try ranker.lists(forItems: [x])[0]
        #expect(!near.isCold && near.items == [y])
        // Two users have both, and each has two: 2 / (2 + shrinkage).
        var settings = ItemKNNSettings()
        settings.shrinkage = 6
        let drawn = try ItemKNN.train(dataset, on: .all, settings)
        #expect(drawn.similarities == [0.25, 0.25] && near.scores == [1])
    }

    @Test func `only the newest events make the query, and all are hidden`() throws {
        let vectors = Matrix(rows: 4, columns: 2, values: [1, 0, 0.9, 0.1, 0, 1, 0.1, 0.9])
        let model = RetrievalModel(
            kind: Prod2Vec.kind,
            vectors: vectors,
            items: [0, 1, 2, 3],
            itemCount: 4
        )
        let ranker = try Ranker(model, fallback: model, ListRules(k: 4, history: 1))
        #expect(try ranker.lists(for: [[0, 2]].map { Query(history: $0) })[0].items == [3, 1])
        let open = try Ranker(
            model,
            fallback: model,
            ListRules(k: 4, excludesSeen: false, history: 1)
        )
        #expect(try open.lists(for: [[0, 2]].map { Query(history: $0) })[0].items.first == 2)
    }

    @Test func `popularity measured against itself makes no difference`() throws {
        let popular = Popularity.train(dataset, on: .forTraining)
        let ranker = try Ranker(popular, fallback: popular, ListRules(k: 5))
        let report = try Evaluation(dataset, for: .users, ks: [1, 5])
            .run([
                Evaluation.System("model", ranker), Evaluation.System("popularity", ranker),
            ]).report
        #expect(report.queries == dataset.users.count)
        #expect(
            report.system("popularity")?.differences["recall@5"]
                == Difference(value: 0, low: 0, high: 0, probability: 0.5)
        )
        #expect(
            report.verdict("recall@5", against: "popularity")
                == "not distinguishable from popularity"
        )
        #expect((report.model["recall@5"]?.value ?? 0) >= (report.model["recall@1"]?.value ?? 1))
    }

    @Test func `a split that keeps nothing back is an error with a cure`() throws {
        let folder = try TemporaryFolder()
        let path = try folder.write("user,item,time\na,x,1\nb,y,2\n", to: "one.csv")
        let lonely = try Checkerboard.settings(path).built().dataset
        let error = #expect(throws: PredictorError.self) {
            _ = try Evaluation(lonely, for: .users, ks: [5])
        }
        #expect(error?.description.contains("nothing to test on") == true)
    }
}
