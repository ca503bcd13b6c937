// SPDX-License-Identifier: Apache-2.0
import Foundation
import Tables
import TestSupport
import Testing

@testable import Predictor

struct RatingMLPTests {
    /// 60 users and 30 items of three genres each way; users like the genre of their number.
    func dataset(split: Split = .sequences(validation: 0.1, test: 0.1, seed: 1)) throws
        -> Dataset
    {
        let folder = try TemporaryFolder()
        var (events, items) = ("user,item,session,rating,time\n", "item,genres\n")
        for user in 0..<60 {
            for place in 0..<12 {
                let item = (user * 7 + place * 5) % 30
                let rating = item % 3 == user % 3 ? 4.5 : item % 3 == (user + 1) % 3 ? 3 : 1
                events += "u\(user),i\(item),s\(place),\(rating),\(place)\n"
            }
        }
        for item in 0..<30 { items += "i\(item),g\(item % 3)\(item % 2 == 0 ? "|even" : "")\n" }
        return try DatasetSettings(
            source: TableSource(.csv, try folder.write(events, to: "events.csv")),
            columns: .init(user: "user", item: "item", time: "time"),
            sessions: .init(by: .column("session")),
            items: EntityTable(
                table: .init(.csv, try folder.write(items, to: "items.csv")),
                id: "item"
            ),
            features: [
                Feature("genres", of: .items, .category(.init(column: "genres", separator: "|"))),
                Feature("rating", of: .events, .number(column: "rating", .init(scale: .standard))),
            ],
            split: split
        ).built().dataset
    }

    var settings: RatingMLPSettings {
        var settings = RatingMLPSettings()
        settings.label = Condition("rating >= 4")
        settings.embedding = 6
        settings.layers = [10, 8]
        settings.optimiser.learningRate = 0.01
        settings.training.batch = 64
        settings.training.epochs = 30
        settings.training.patience = 0
        return settings
    }

    @Test func `labels are of the numbers as they stood in the source`() throws {
        let dataset = try dataset()
        let examples = try RatingExamples(dataset, on: .all, settings)
        for user in 0..<dataset.users.count {
            let number = Int(dataset.users[user].dropFirst()) ?? -1
            for event in dataset.events(ofUser: user) {
                let item = dataset.eventItems[event]
                let name = Int(dataset.items[Int(item)].dropFirst()) ?? -1
                let batch = examples.batch(
                    events: [Int32(event)],
                    users: [Int32(user)],
                    items: [item],
                    stream: 0
                )
                #expect(batch.labels == [name % 3 == number % 3 ? 1 : 0])
            }
        }
    }

    @Test func `without a label others are drawn, the same ones at the same step`() throws {
        let dataset = try dataset()
        var settings = settings
        settings.label = nil
        settings.negatives = 3
        let examples = try RatingExamples(dataset, on: .forTraining, settings)
        func batch(_ stream: Int) -> RatingExamples.Batch {
            examples.batch(events: [0, 1], users: [0, 0], items: [5, 6], stream: stream)
        }
        let first = batch(1)
        #expect(first.labels == [1, 0, 0, 0, 1, 0, 0, 0])
        #expect(first.users == [0, 0, 0, 0, 0, 0, 0, 0])
        #expect(first.items[0] == 5 && first.items[4] == 6)
        // What is kept back may be drawn in training, or the model would learn that it comes.
        func own(_ parts: Set<Part>) -> Set<Int32> {
            Set(
                dataset.events(ofUser: 0).filter { event in
                    parts.contains { $0.rawValue == dataset.eventParts[event] }
                }.map { dataset.eventItems[$0] }
            )
        }
        var drawn: [Set<Int32>] = []
        for parts in [Set<Part>.forTraining, .all] {
            drawn.append([])
            for stream in 0..<100 {
                let batch = examples.batch(
                    events: [0],
                    users: [0],
                    items: [5],
                    stream: stream,
                    knowing: parts
                )
                drawn[drawn.count - 1].formUnion(batch.items.dropFirst())
            }
        }
        #expect(drawn[0].isDisjoint(with: own(.forTraining)))
        #expect(drawn[0].isSuperset(of: own(.all).subtracting(own(.forTraining))))
        #expect(drawn[1].isDisjoint(with: own(.all)))
        #expect(batch(1).items == first.items)
        #expect(batch(2).items != first.items)
    }

    /// The plain twin: the first layer as one matrix, pair by pair, in double precision.
    private func loss(
        _ weights: [String: (rows: Int, columns: Int, values: [Double])],
        _ batch: RatingExamples.Batch,
        _ genres: (Int) -> [Int]
    ) -> Double {
        func row(_ name: String, _ row: Int) -> [Double] {
            guard let (_, columns, values) = weights[name] else { return [] }
            return Array(values[row * columns..<(row + 1) * columns])
        }
        func dense(_ x: [Double], _ name: String, _ other: (x: [Double], name: String)? = nil)
            -> [Double]
        {
            guard let (_, columns, w) = weights[name + ".weight"] else { return [] }
            var y = weights[name + ".bias"]?.values ?? [Double](repeating: 0, count: columns)
            for (i, value) in x.enumerated() {
                for o in 0..<columns { y[o] += value * w[i * columns + o] }
            }
            if let other {
                for (o, value) in dense(other.x, other.name).enumerated() { y[o] += value }
            }
            return y
        }
        var total = 0.0
        for (place, label) in batch.labels.enumerated() {
            let (user, item) = (Int(batch.users[place]), Int(batch.items[place]))
            let codes = genres(item)
            var mean = [Double](repeating: 0, count: 6)
            for code in codes {
                for (c, value) in row("items.genres", code).enumerated() {
                    mean[c] += value / Double(codes.count)
                }
            }
            var h = dense(
                row("users", user),
                "users.first",
                (row("items", item) + mean, "items.first")
            )
            h = dense(h.map { max(0, $0) }, "layer.0").map { max(0, $0) }
            let logit = dense(h, "layer.1")[0]
            total += max(logit, 0) - logit * Double(label) + log(1 + exp(-abs(logit)))
        }
        return total / Double(batch.labels.count)
    }

    @Test(arguments: [1, 3])
    func `the loss, and how every weight moves, are those of the plain network`(_ threads: Int)
        throws
    {
        let dataset = try dataset()
        var settings = settings
        settings.threads = threads
        settings.optimiser.kind = .sgd
        settings.optimiser.learningRate = 1
        let network = try RatingMLPNetwork(dataset, on: .all, settings, validates: false)
        for (_, parameter) in network.parameters {
            parameter.values.fill(parameter.values.values.map { $0 * 4 + 0.05 })
        }
        var weights: [String: (rows: Int, columns: Int, values: [Double])] = [:]
        for (name, parameter) in network.parameters {
            weights[name] = (
                parameter.rows, parameter.columns, parameter.values.values.map { Double($0) }
            )
        }
        #expect(
            weights.keys.sorted() == [
                "items", "items.first.weight", "items.genres", "layer.0.bias", "layer.0.weight",
                "layer.1.bias", "layer.1.weight", "users", "users.first.bias",
                "users.first.weight",
            ]
        )
        let column = try #require(dataset.schema.columns.first { $0.name == "genres" })
        guard case .lists(let codes, let offsets) = try dataset.values(of: column) else {
            Issue.record("no lists")
            return
        }
        func genres(_ item: Int) -> [Int] {
            codes[Int(offsets[item])..<Int(offsets[item + 1])].map { Int($0) }
        }
        var generator = SeededGenerator(seed: 3)
        var batch = RatingExamples.Batch()
        for _ in 0..<90 {
            batch.users.append(Int32(generator.index(below: 9)))
            batch.items.append(Int32(generator.index(below: 12)))
            batch.labels.append(Float(generator.index(below: 2)))
        }
        let found = try network.learn(batch, step: 0, of: 1)
        #expect(abs(found - loss(weights, batch, genres)) < 1e-5)
        for (name, parameter) in network.parameters {
            let before = try #require(weights[name])
            let after = parameter.values.values
            for place in stride(from: 0, to: before.values.count, by: 7) {
                var (more, less) = (weights, weights)
                more[name]?.values[place] += 1e-5
                less[name]?.values[place] -= 1e-5
                let slope = (loss(more, batch, genres) - loss(less, batch, genres)) / 2e-5
                #expect(
                    abs(before.values[place] - Double(after[place]) - slope) < 1e-5,
                    "\(name) \(place)"
                )
            }
        }
    }

    @Test func `it learns who likes what, stays the same on disk, and orders a list`() throws {
        let dataset = try dataset()
        let (model, outcome) = try RatingMLP.train(dataset, on: .forTraining, settings)
        #expect(outcome.validation ?? 0 > 0.95)
        let report = try RatingMLP.report(model, on: dataset, settings)
        #expect(report.auc > 0.95 && report.logLoss < 0.7 * report.meanLogLoss)
        #expect(abs(report.calibration - 1) < 0.4 && report.examples > 40)
        let folder = try TemporaryFolder()
        try model.write(to: folder.path)
        let read = try RatingModel(from: folder.path)
        let all = (0..<Int32(dataset.items.count)).map { $0 }
        let pairs = (0..<Int32(60)).map { (user: $0, items: all) }
        #expect(read.logits(pairs) == model.logits(pairs))

        // Popularity finds, the network orders.
        let popular = Popularity.train(dataset, on: .all)
        let rules = ListRules(k: 5, excludesSeen: false)
        let plain = try Ranker(popular, fallback: popular, rules)
        let ranker = try Ranker(
            popular,
            fallback: popular,
            rules,
            rank: RankStage(model, candidates: 25)
        )
        let queries = (0..<Int32(60)).map { Query(user: $0, history: []) }
        let candidates = try Ranker(
            popular,
            fallback: popular,
            ListRules(k: 25, excludesSeen: false)
        )
        .lists(for: queries)
        for (user, list) in try ranker.lists(for: queries).enumerated() {
            let scores = model.probabilities([(Int32(user), candidates[user].items)])[0]
            let wanted = zip(candidates[user].items, scores).enumerated()
                .sorted { ($1.element.1, $0.offset) < ($0.element.1, $1.offset) }.prefix(5)
            #expect(list.items == wanted.map(\.element.0))
            #expect(list.scores == wanted.map(\.element.1))
        }
        let nobody = [Query(history: [1])]
        #expect(try ranker.lists(for: nobody) == plain.lists(for: nobody))
    }

    @Test func `a state goes on to the same bits`() throws {
        let dataset = try dataset()
        let folder = try TemporaryFolder()
        var settings = settings
        settings.label = nil
        settings.dropout = 0.2
        settings.training.epochs = 3
        struct Stopped: Error {}
        let whole = try RatingMLP.train(dataset, on: .forTraining, settings)
        #expect(throws: Stopped.self) {
            _ = try RatingMLP.train(dataset, on: .forTraining, settings) { progress in
                guard progress.step == 13 else { return }
                try progress.writeState(to: folder.path)
                throw Stopped()
            }
        }
        let resumed = try RatingMLP.train(dataset, on: .forTraining, settings, from: folder.path)
        #expect(resumed.outcome == whole.outcome)
        let pairs: [(user: Int32, items: [Int32])] = [(0, [0, 1, 2]), (7, [5])]
        #expect(resumed.model.logits(pairs) == whole.model.logits(pairs))
    }

    @Test(arguments: [
        ("stars >= 4", "no number of the dataset's events; these are: rating"),
        ("rating >= 9", "none of the training events are rating >= 9"),
        ("rating >= 0", "all of the training events are rating >= 0"),
    ])
    func `labels that cannot be learnt are an error with a cure`(_ label: String, _ words: String)
        throws
    {
        let dataset = try dataset()
        var settings = settings
        settings.label = Condition(label)
        let wrong = settings
        let error = #expect(throws: PredictorError.self) {
            _ = try RatingMLP.train(dataset, on: .forTraining, wrong)
        }
        let text = "\(try #require(error))"
        #expect(text.contains(words) && text.contains("hint"))
    }

    @Test func `a report counts pairs, and means of bins`() {
        var generator = SeededGenerator(seed: 1)
        // Rounded, so that some are equal.
        let logits = (0..<300).map { _ in (generator.unitFloat() * 40).rounded() / 10 - 2 }
        let labels = logits.map { generator.unitFloat() < 1 / (1 + exp(-$0)) ? Float(1) : 0 }
        let report = RatingReport(logits, labels: labels)
        var (right, pairs) = (0.0, 0.0)
        for (a, liked) in zip(logits, labels) where liked == 1 {
            for (b, other) in zip(logits, labels) where other == 0 {
                right += a > b ? 1 : a == b ? 0.5 : 0
                pairs += 1
            }
        }
        #expect(abs(report.auc - right / pairs) < 1e-9)
        let loss = zip(logits, labels).reduce(0.0) { sum, pair in
            let p = 1 / (1 + exp(-Double(pair.0)))
            return sum - log(pair.1 == 1 ? p : 1 - p)
        }
        #expect(abs(report.logLoss - loss / 300) < 1e-6)
        // What was drawn by the probabilities themselves is calibrated.
        #expect(abs(report.calibration - 1) < 0.15 && report.calibrationError < 0.1)
        let sure = RatingReport([50, 50, -50], labels: [0, 1, 0])
        #expect(sure.calibration == 2 && abs(sure.logLoss - 50.0 / 3) < 1e-6)
        #expect(RatingReport([1], labels: [1]).auc == 0.5)
        // It ends, whatever the logits.
        #expect(RatingReport([.nan, 1, .nan], labels: [0, 1, 1]).examples == 3)
        #expect(RatingReport([], labels: []).examples == 0)
    }
}
