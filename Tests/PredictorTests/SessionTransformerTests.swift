// SPDX-License-Identifier: Apache-2.0
import Foundation
import Tables
import TestSupport
import Testing

@testable import Predictor

struct SessionTransformerTests {
    @Test(arguments: SessionTransformerSettings.Masking.allCases)
    func `a session's list is of the session alone, however many threads there are`(
        _ masking: SessionTransformerSettings.Masking
    ) throws {
        let dataset = try Sessions.dataset()
        var settings = Sessions.small(masking)
        settings.dropout = 0
        let one = try SessionTransformer.train(dataset, on: .all, settings).model
        settings.threads = 3
        let many = try SessionTransformer.train(dataset, on: .all, settings).model
        let histories: [[Int32]] = [[3], [1, 2, 3, 4, 5, 6, 7], [9, 9], Array(0..<20)]
        let together = try Sessions.lists(one, histories)
        for (history, list) in zip(histories, together) {
            let alone = try #require(try Sessions.lists(one, [history])[0])
            #expect(alone.items == list?.items)
        }
        for (a, b) in zip(together, try Sessions.lists(many, histories)) {
            #expect(zip(a?.scores ?? [], b?.scores ?? []).allSatisfy { abs($0 - $1) < 2e-3 })
            #expect(a?.scores.count == 5 && b?.scores.count == 5)
        }
    }

    @Test func `dropout closes the same places however many threads there are`() throws {
        let dataset = try Sessions.dataset()
        var settings = Sessions.small(.causal)
        settings.optimiser.kind = .sgd
        let losses = try [1, 3].map { threads in
            settings.threads = threads
            var losses: [Double] = []
            _ = try SessionTransformer.train(
                dataset,
                on: .all,
                settings,
                progress: { losses.append($0.loss) }
            )
            return losses
        }
        #expect(losses[0].count == 16)
        #expect(zip(losses[0], losses[1]).allSatisfy { abs($0 - $1) < 1e-4 })
    }

    @Test func `more threads than rows learn the same`() throws {
        func trained(_ threads: Int) throws -> [Float] {
            let folder = try TemporaryFolder()
            let path = try folder.write("user,item,time\na,x,1\na,y,2\n", to: "events.csv")
            let dataset = try Checkerboard.settings(path).built().dataset
            var settings = Sessions.small(.causal)
            settings.optimiser.kind = .sgd
            settings.threads = threads
            let learner = try SessionLearner(dataset, on: .all, settings, validates: false)
            var examples = SessionExamples(settings, learner.columns, isMet: learner.isMet)
            var generator = SeededGenerator(seed: 1)
            examples.append(items: [0, 1], events: [], &generator)
            for step in 0..<5 { _ = try learner.learn(examples, step: step, of: 5) }
            return learner.parameters.flatMap { $0.parameter.values.values }
        }
        #expect(try zip(trained(1), trained(3)).allSatisfy { abs($0 - $1) < 1e-5 })
    }

    @Test func `what was in no session of two events is not offered`() throws {
        let (model, dataset) = try trained(
            "a,x,1\na,y,2\nb,x,1\nb,y,3\nc,alone,5\n",
            Sessions.small(.causal)
        )
        let alone = Int32(try #require(dataset.items.index(of: "alone")))
        #expect(!model.items.contains(alone) && model.items.count == 2)
        #expect(try Sessions.lists(model, [[alone]])[0] == nil)
    }

    @Test func `read causally, what comes later changes nothing before it`() throws {
        let dataset = try Sessions.dataset()
        let learner = try SessionLearner(
            dataset,
            on: .all,
            Sessions.small(.causal),
            validates: false
        )
        func vectors(_ items: [Int32]) -> [Float] {
            var tokens = SessionTokens(learner.columns, isMet: learner.isMet)
            tokens.append(items: items, events: [], paddedTo: 0)
            var selected = SelectedRows()
            selected.append(0..<3, first: 0)
            return learner.network.forward(tokens, selected, hidden: []).values
        }
        let (first, second) = (vectors([1, 2, 3, 4, 5]), vectors([1, 2, 3, 9]))
        #expect(zip(first, second).allSatisfy { abs($0 - $1) < 1e-5 })
        #expect(vectors([1, 2, 4]) != vectors([1, 2, 3]))
    }

    @Test func `a masked item is not seen, nor what is known of it`() throws {
        let dataset = try Sessions.dataset()
        let learner = try SessionLearner(dataset, on: .all, Sessions.small(.mlm), validates: false)
        func vector(_ masked: Int32) -> [Float] {
            var examples = SessionExamples(learner.settings, learner.columns, isMet: learner.isMet)
            examples.append(items: [1, masked, 3], events: [], masked: [1])
            return learner.network.forward(
                examples.tokens,
                examples.selected,
                hidden: examples.hidden
            ).values
        }
        #expect(vector(5) == vector(6))
    }

    @Test func `some are masked, one in any case, and never all`() {
        var generator = SeededGenerator(seed: 1)
        var counts: [Int: Int] = [:]
        for _ in 0..<10_000 {
            let masked = SessionExamples.masked(10, 0.15, &generator)
            #expect(masked == masked.sorted() && Set(masked).count == masked.count)
            counts[masked.count, default: 0] += 1
        }
        // 1 + 9 · 0.15 on average.
        let mean = counts.reduce(0) { $0 + $1.key * $1.value }
        #expect(abs(Double(mean) / 10_000 - 2.35) < 0.05)
        #expect(counts[0] == nil && counts[10] == nil)
        for _ in 0..<100 {
            #expect(SessionExamples.masked(2, 0.999, &generator).count == 1)
        }
    }

    @Test(arguments: SessionTransformerSettings.Masking.allCases)
    func `a training that was stopped goes on to the same weights`(
        _ masking: SessionTransformerSettings.Masking
    ) throws {
        struct Stop: Error {}
        let dataset = try Sessions.dataset()
        let folder = try TemporaryFolder()
        let whole = try SessionTransformer.train(dataset, on: .all, Sessions.small(masking)).model
        #expect(throws: Stop.self) {
            _ = try SessionTransformer.train(
                dataset,
                on: .all,
                Sessions.small(masking),
                progress: { progress in
                    guard progress.step == 6 else { return }
                    try progress.writeState(to: folder.path)
                    throw Stop()
                }
            )
        }
        let resumed = try SessionTransformer.train(
            dataset,
            on: .all,
            Sessions.small(masking),
            from: folder.path
        ).model
        let histories: [[Int32]] = [[3], [1, 2, 3]]
        #expect(try Sessions.lists(whole, histories) == Sessions.lists(resumed, histories))
    }

    @Test func `of a sample only those that are used move, by the gradients of both uses`() throws {
        let dataset = try Sessions.dataset()
        var settings = Sessions.small(.causal)
        settings.dropout = 0
        settings.sampledNegatives = 4
        settings.optimiser.kind = .sgd
        settings.optimiser.learningRate = 1
        let learner = try SessionLearner(dataset, on: .all, settings, validates: false)
        var examples = SessionExamples(settings, learner.columns, isMet: learner.isMet)
        var generator = SeededGenerator(seed: 1)
        let session: [Int32] = [1, 2, 3, 2]
        examples.append(items: session[...], events: [], &generator)
        var candidates = Candidates(learner.counts, settings.candidates)
        candidates.fill([2, 3, 2], step: 0)
        let table = learner.network.items.table.values
        let before = table.values
        // The loss as it is written, for a table that is a little different.
        func loss(_ values: [Float]) -> Double {
            table.fill(values)
            let h = learner.network.forward(examples.tokens, examples.selected, hidden: []).values
            var sum = 0.0
            for (place, target) in [2, 3, 2].enumerated() {
                let logits = candidates.items.enumerated().map { number, item in
                    let row = (Int(item) + 3) * 16
                    let score = (0..<16).reduce(0.0) {
                        $0 + Double(h[place * 16 + $1]) * Double(values[row + $1])
                    }
                    // Copies of the right one are hidden; of others all count.
                    let copies = Int(item) == target ? 1 : Double(candidates.copies[number])
                    return score + Double(candidates.biases[number]) + log(copies)
                }
                let own = candidates.items.firstIndex(of: Int32(target)) ?? 0
                sum += log(logits.reduce(0) { $0 + exp($1) }) - logits[own]
            }
            return sum / 3
        }
        let direction = before.map { _ in generator.unitFloat() * 2 - 1 }
        let slope =
            (loss(zip(before, direction).map { $0 + $1 * 0.002 })
                - loss(zip(before, direction).map { $0 - $1 * 0.002 })) / 0.004
        table.fill(before)
        _ = try learner.learn(examples, step: 0, of: 10)
        let moved = zip(before, table.values).map { $0 - $1 }
        let along = zip(moved, direction).reduce(0.0) { $0 + Double($1.0) * Double($1.1) }
        #expect(abs(along - slope) < 0.02 * (1 + abs(slope)), "\(along) is not \(slope)")
        let used = Set(candidates.items + session)
        for item in 0..<Int32(24) {
            let isStill = moved[(Int(item) + 3) * 16..<(Int(item) + 4) * 16].allSatisfy { $0 == 0 }
            #expect(isStill == !used.contains(item))
        }
    }

    // MARK: bad input

    private func trained(_ csv: String, _ settings: SessionTransformerSettings) throws
        -> (SessionModel, Dataset)
    {
        let folder = try TemporaryFolder()
        let path = try folder.write("user,item,time\n" + csv, to: "events.csv")
        let dataset = try Checkerboard.settings(path).built().dataset
        return (try SessionTransformer.train(dataset, on: .all, settings).model, dataset)
    }

    @Test func `sessions of one event each are an error with a cure`() throws {
        let error = #expect(throws: PredictorError.self) {
            _ = try trained("a,x,1\nb,y,1\n", Sessions.small(.causal))
        }
        #expect(error?.description.contains("no session has two events") == true)
        #expect(error?.description.contains("sessions:") == true)
    }

    @Test(arguments: SessionTransformerSettings.Masking.allCases)
    func `one item, and a session of five thousand events, are read`(
        _ masking: SessionTransformerSettings.Masking
    ) throws {
        var settings = Sessions.small(masking)
        settings.training.epochs = 1
        let (alone, _) = try trained("a,x,1\na,x,2\nb,x,1\n", settings)
        #expect(try Sessions.lists(alone, [[0]])[0]?.items == [0])
        let long = (0..<5000).map { "a,i\($0 % 50),\($0)" }.joined(separator: "\n")
        settings.length = 5000
        let (model, dataset) = try trained(long, settings)
        let history = Array(dataset.eventItems)
        #expect(try Sessions.lists(model, [history])[0]?.items.count == 5)
    }

    @Test(arguments: SessionTransformerSettings.Masking.allCases)
    func `a category that half of the items lack, and lists of them, are read`(
        _ masking: SessionTransformerSettings.Masking
    ) throws {
        let folder = try TemporaryFolder()
        var (events, items) = ("user,item,time\n", "item,group,tags\n")
        for session in 0..<20 {
            for place in 0..<3 { events += "s\(session),i\((session + place) % 10),\(place)\n" }
        }
        // One of them stands in no table at all.
        for item in 0..<9 {
            items += "i\(item),\(item % 2 == 0 ? "" : "g"),\(["", "a", "a|b"][item % 3])\n"
        }
        let dataset = try DatasetSettings(
            source: TableSource(.csv, try folder.write(events, to: "events.csv")),
            columns: .init(user: "user", item: "item", time: "time"),
            items: EntityTable(
                table: .init(.csv, try folder.write(items, to: "items.csv")),
                id: "item"
            ),
            features: [
                Feature("group", of: .items, .category(.init(column: "group"))),
                Feature("tags", of: .items, .category(.init(column: "tags", separator: "|"))),
            ]
        ).built().dataset
        var settings = Sessions.small(masking)
        settings.training.epochs = 150
        settings.dropout = 0
        let model = try SessionTransformer.train(dataset, on: .all, settings).model
        let session = try ["i3", "i4"].map { Int32(try #require(dataset.items.index(of: $0))) }
        let list = try #require(try Sessions.lists(model, [session])[0])
        #expect(list.scores.allSatisfy { $0.isFinite })
        let next = try #require(list.items.first { !session.contains($0) })
        #expect(dataset.items[Int(next)] == "i5")
    }

    @Test func `what no session of the model's has is no query`() throws {
        let (model, _) = try trained("a,x,1\na,y,2\nb,x,1\nb,y,3\n", Sessions.small(.causal))
        #expect(try Sessions.lists(model, [[]])[0] == nil)
    }

    @Test func `files that are cut short, or of another shape, are refused`() throws {
        let dataset = try Sessions.dataset()
        let folder = try TemporaryFolder()
        let model = try SessionTransformer.train(dataset, on: .all, Sessions.small(.causal)).model
        try model.write(to: folder.path)
        let json = try String(contentsOfFile: "\(folder.path)/settings.json", encoding: .utf8)
        _ = try folder.write(
            json.replacing("\"width\":16", with: "\"width\":32"),
            to: "settings.json"
        )
        let error = #expect(throws: PredictorError.self) {
            _ = try SessionModel(from: folder.path, dataset)
        }
        #expect(error?.description.contains("the weights items are") == true)
        _ = try folder.write("{}", to: "settings.json")
        #expect(throws: PredictorError.self) { _ = try SessionModel(from: folder.path, dataset) }
    }
}
