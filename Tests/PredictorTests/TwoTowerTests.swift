// SPDX-License-Identifier: Apache-2.0
import Foundation
import Tables
import TestSupport
import Testing

@testable import Predictor

struct TwoTowerTests {
    /// 40 users with a group each, 24 items with tags and a price: a category, lists and numbers.
    func dataset(split: Split = .leaveLastOne(validation: false)) throws -> Dataset {
        let folder = try TemporaryFolder()
        var (events, users, items) = ("user,item,time\n", "user,group\n", "item,tags,price\n")
        for user in 0..<40 {
            users += "u\(user),g\([0, 0, 0, 0, 1, 1, 1, 2, 2, 3][user % 10])\n"
            for place in 0..<6 {
                events +=
                    "u\(user),i\((user * 5 + place * place * 3) % 24),\(place)\n"
            }
        }
        for item in 0..<24 {
            let tags = [1, 2, 4, 8].filter { item % $0 == 0 }.map { "t\($0)" }
            let text = String(format: "%.1f", Double(item) * 0.1)
            items += "i\(item),\(item == 5 ? "" : tags.joined(separator: "|")),\(text)\n"
        }
        return try DatasetSettings(
            source: TableSource(.csv, try folder.write(events, to: "events.csv")),
            columns: .init(user: "user", item: "item", time: "time"),
            users: EntityTable(
                table: .init(.csv, try folder.write(users, to: "users.csv")),
                id: "user"
            ),
            items: EntityTable(
                table: .init(.csv, try folder.write(items, to: "items.csv")),
                id: "item"
            ),
            features: [
                Feature("group", of: .users, .category(.init(column: "group"))),
                Feature("tags", of: .items, .category(.init(column: "tags", separator: "|"))),
                Feature("price", of: .items, .number(column: "price", .init(scale: .none))),
            ],
            split: split
        ).built().dataset
    }

    private func batch(_ users: [Int32], _ items: [Int32]) -> LoadedBatch {
        let batch = LoadedBatch([])
        batch.users = users
        batch.items = items
        return batch
    }

    /// Printed by Tests/merlin_two_tower.py.
    private static let merlinsLosses: [Double] = [
        3.628106, 3.027601, 2.814529, 3.862933, 3.252410, 2.972277, 3.422097, 3.172052,
        3.252553, 3.089780, 2.978215, 3.293031, 3.173423, 3.113851, 3.104877, 2.997523,
        3.271494, 3.089370, 3.007638, 3.200711,
    ]

    @Test func `compat merlin has the losses of Merlin's model`() throws {
        let dataset = try dataset()
        let users = try (0..<40).map { try #require(dataset.users.index(of: "u\($0)")) }
        let items = try (0..<24).map { try #require(dataset.items.index(of: "i\($0)")) }
        var settings = TwoTowerSettings.merlin
        settings.towers = [12, 6]
        settings.optimiser.learningRate = 0.02
        let network = try TwoTowerNetwork(dataset, on: .all, settings, validates: false)
        for (number, (name, parameter)) in network.parameters.enumerated() {
            let scale: Float = name.hasSuffix("weight") ? 3 : 0.1
            if !name.contains("tower") { #expect(parameter.columns == 8) }
            // Rows of ids are in the order of the numbers there.
            let rows =
                name == "users" ? users + [40] : name == "items" ? items + [24] : nil
            var values = [Float](repeating: 0, count: parameter.values.count)
            for place in values.indices {
                let value = (Float((place * 31 + number * 17) % 97) / 97 - 0.4) * scale
                let row = rows?[place / parameter.columns] ?? place / parameter.columns
                values[row * parameter.columns + place % parameter.columns] = value
            }
            parameter.values.fill(values)
        }
        for (step, wanted) in Self.merlinsLosses.enumerated() {
            let chosen = (0..<32).map { (step * 7 + $0 * 11) % 40 }
            let batch = batch(
                chosen.map { Int32(users[$0]) },
                chosen.enumerated().map { Int32(items[($1 * 5 + $0) % 24]) }
            )
            let loss = try network.learn(batch, next: nil, step: step, of: 20)
            #expect(abs(loss - wanted) < 1e-4, "step \(step)")
        }
    }

    // MARK: the loss

    enum Variant: String, CaseIterable, CustomTestStringConvertible {
        case plain
        case logQ
        case keepsAccidentalHits
        case uniformNegatives
        case popularNegatives
        case queue
        case cosine

        var testDescription: String { rawValue }

        var settings: TwoTowerSettings {
            var settings = TwoTowerSettings()
            settings.normalise = false
            settings.temperature = 1
            settings.logQ = false
            settings.embedding = 8
            settings.towers = [12, 6]
            settings.optimiser.kind = .sgd
            settings.optimiser.learningRate = 0
            switch self {
            case .plain: break
            case .logQ: settings.logQ = true
            case .keepsAccidentalHits: settings.masksAccidentalHits = false
            case .uniformNegatives: settings.sampledNegatives = 10
            case .popularNegatives:
                settings.sampledNegatives = 10
                settings.sampler = .popularity
                settings.logQ = true
            case .queue:
                settings.queue = 25
                settings.logQ = true
            case .cosine:
                settings.normalise = true
                settings.temperature = 0.2
            }
            return settings
        }
    }

    /// All events of a batch as candidates, copies and all, as the papers write it.
    @Test(arguments: Variant.allCases)
    func `the loss is the one with every candidate written out`(_ variant: Variant) throws {
        let dataset = try dataset()
        let settings = variant.settings
        let network = try TwoTowerNetwork(dataset, on: .all, settings, validates: false)
        // Larger weights, so that logits differ.
        for (_, parameter) in network.parameters {
            parameter.values.fill(parameter.values.values.map { $0 * 3 })
        }
        let model = try network.model()
        guard case .users(let userVectors, _) = model.queries else { throw CancellationError() }
        let counts = dataset.itemCounts(in: .all)
        func score(_ user: Int32, _ item: Int32) -> Double {
            zip(userVectors[row: Int(user)], model.vectors[row: Int(model.rows[Int(item)])])
                .reduce(0) { $0 + Double($1.0) * Double($1.1) } / settings.temperature
        }
        var past: [Int32] = []
        for step in 0..<3 {
            let events = (0..<30).map { (step * 50 + $0 * 7) % dataset.eventItems.count }
            let items = events.map { dataset.eventItems[$0] }
            let users = events.map { event in
                Int32((0..<40).first { dataset.events(ofUser: $0).contains(event) } ?? -1)
            }
            var drawing = Candidates(counts, settings.candidates)
            drawing.fill(items, step: step)
            var copies = [Int32: Int](
                uniqueKeysWithValues: zip(drawing.items, drawing.copies.map { Int($0) })
            )
            for item in items { copies[item, default: 0] -= 1 }
            let drawn = copies.flatMap { [Int32](repeating: $0, count: $1) }
            #expect(drawn.count == settings.sampledNegatives)
            func bias(_ item: Int32) -> Double {
                guard settings.logQ else { return 0 }
                let share = Double(counts[Int(item)]) / Double(counts.reduce(0, +))
                return -log(30 * share + Double(drawn.count) * share)
            }
            var wanted = 0.0
            for (user, own) in zip(users, items) {
                var sum = (items + drawn).filter { $0 != own }
                    .reduce(0) { $0 + exp(score(user, $1) + bias($1)) }
                // Its own event, and others of the same item.
                let copies = (items + drawn).count { $0 == own }
                sum +=
                    Double(settings.masksAccidentalHits ? 1 : copies)
                    * exp(score(user, own) + bias(own))
                for other in past where other != own {
                    sum += exp(score(user, other) + bias(other))
                }
                wanted += log(sum) - score(user, own) - bias(own)
            }
            let loss = try network.learn(batch(users, items), next: nil, step: step, of: 3)
            #expect(abs(loss - wanted / 30) < 1e-4, "step \(step)")
            past += drawing.items
            past = variant == .queue ? Array(past.suffix(25)) : []
        }
    }

    // MARK: training

    private func trained(
        _ dataset: Dataset,
        _ change: (inout TwoTowerSettings) -> Void = { _ in },
        on parts: Set<Part> = .forTraining,
        epochs: Double? = nil,
        from folder: String? = nil,
        progress: (TrainingProgress) throws -> Void = { _ in }
    ) throws -> (model: RetrievalModel, outcome: TrainingOutcome) {
        var settings = TwoTowerSettings()
        settings.embedding = 8
        settings.towers = [12, 6]
        settings.optimiser.kind = .adamw
        settings.optimiser.learningRate = 0.01
        settings.training.batch = 32
        settings.training.epochs = 8
        change(&settings)
        return try TwoTower.train(
            dataset,
            on: parts,
            settings,
            epochs: epochs,
            from: folder,
            progress: progress
        )
    }

    private struct Stopped: Error {}

    @Test(arguments: [Split.leaveLastOne(validation: false), .leaveLastOne(validation: true)])
    func `a training that goes on from the middle of an epoch ends in the same bits`(
        _ split: Split
    ) throws {
        let dataset = try dataset(split: split)
        let folder = try TemporaryFolder()
        func change(_ settings: inout TwoTowerSettings) {
            settings.dropout = 0.2
            settings.sampledNegatives = 5
            settings.queue = 40
            settings.optimiser.schedule = .cosine
            settings.optimiser.clip = 0.5
            settings.training.validateEvery = 2
            settings.training.patience = 0
        }
        let whole = try trained(dataset, change)
        #expect(throws: Stopped.self) {
            _ = try trained(dataset, change) { progress in
                guard progress.step == 18 else { return }
                try progress.writeState(to: folder.path)
                throw Stopped()
            }
        }
        var first: Int?
        let resumed = try trained(dataset, change, from: folder.path) { first = first ?? $0.step }
        #expect(first == 19)
        #expect(resumed.model.vectors == whole.model.vectors)
        #expect(resumed.outcome == whole.outcome)
        let error = #expect(throws: PredictorError.self) {
            _ = try trained(
                dataset,
                {
                    change(&$0); $0.towers = [10, 6]
                },
                from: folder.path
            )
        }
        #expect("\(try #require(error))".contains("those of this model"))
        let longer = #expect(throws: PredictorError.self) {
            _ = try trained(
                dataset,
                {
                    change(&$0); $0.training.epochs = 9
                },
                from: folder.path
            )
        }
        #expect("\(try #require(longer))".contains("of other length"))
    }

    @Test func `a state that is cut short is refused`() throws {
        let dataset = try dataset()
        let folder = try TemporaryFolder()
        _ = try trained(
            dataset,
            progress: { if $0.step == 3 { try $0.writeState(to: folder.path) } }
        )
        let path = folder.path + "/state.safetensors"
        let whole = try Data(contentsOf: URL(filePath: path))
        for length in [0, 7, 100, whole.count / 2, whole.count - 1] {
            try whole.prefix(length).write(to: URL(filePath: path))
            #expect(throws: PredictorError.self) { _ = try trained(dataset, from: folder.path) }
        }
    }

    @Test func `training ends when nothing gets better, with the weights that were best`() throws {
        let dataset = try dataset(split: .leaveLastOne(validation: true))
        var seen: [(step: Int, value: Double)] = []
        func change(_ settings: inout TwoTowerSettings) {
            settings.training.epochs = 100
            settings.training.patience = 2
            settings.optimiser.learningRate = 0.05
        }
        let (model, outcome) = try trained(dataset, change) { progress in
            if let value = progress.validation { seen.append((progress.step, value)) }
        }
        let best = try #require(seen.max { $0.value < $1.value })
        #expect(outcome.validation == best.value)
        #expect(outcome.steps == seen.first { $0.value == best.value }?.step)
        #expect(seen.count < 100 && seen.count >= 3)
        // Two looks that were no better came after it.
        #expect(seen.suffix(2).allSatisfy { $0.value <= best.value })
        #expect(seen.count * outcome.stepsOfEpoch == outcome.steps + 2 * outcome.stepsOfEpoch)
        let validation = Validation(dataset, seed: 1)
        #expect(try validation.value(of: model) { _ in } == best.value)
        // A refit goes on as long as was best, on everything.
        let refit = try trained(dataset, change, on: .all, epochs: outcome.epochs)
        #expect(abs(refit.outcome.epochs - outcome.epochs) <= 0.5)
        #expect(refit.outcome.validation == nil)
    }

    @Test func `a training that diverges says so, and how to mend it`() throws {
        let dataset = try dataset()
        let error = #expect(throws: PredictorError.self) {
            _ = try trained(dataset) {
                // Without lengths of one, which hold numbers back.
                $0.normalise = false
                $0.optimiser.kind = .sgd
                $0.optimiser.learningRate = 1e9
            }
        }
        let text = "\(try #require(error))"
        #expect(text.contains("diverged") && text.contains("learning-rate"))
    }

    @Test func `weights that break at a look are told the same`() throws {
        let dataset = try dataset(split: .leaveLastOne(validation: true))
        let error = #expect(throws: PredictorError.self) {
            _ = try trained(dataset) {
                $0.normalise = false
                $0.optimiser.kind = .sgd
                $0.optimiser.learningRate = 1e30
                $0.training.validateEvery = 1
            }
        }
        let text = "\(try #require(error))"
        #expect(text.contains("diverged") && text.contains("learning-rate"))
    }

    @Test func `a state of a training that had ended ends at once`() throws {
        let dataset = try dataset(split: .leaveLastOne(validation: true))
        let folder = try TemporaryFolder()
        func change(_ settings: inout TwoTowerSettings) {
            settings.training.epochs = 100
            settings.training.patience = 2
            settings.optimiser.learningRate = 0.05
        }
        let whole = try trained(dataset, change, progress: { try $0.writeState(to: folder.path) })
        var steps = 0
        let resumed = try trained(dataset, change, from: folder.path) { _ in steps += 1 }
        #expect(steps == 0)
        #expect(resumed.outcome == whole.outcome)
        #expect(resumed.model.vectors == whole.model.vectors)
    }

    @Test func `a validation part of strangers to the model ends no training`() throws {
        let folder = try TemporaryFolder()
        let path = try folder.write(Checkerboard.csv(), to: "events.csv")
        let dataset = try Checkerboard.settings(
            path,
            split: .users(validation: 0.2, test: 0, seed: 1)
        ).built().dataset
        let outcome = try trained(dataset).outcome
        #expect(outcome.validation == nil && outcome.epochs == 8)
    }

    @Test func `a feature may have any name`() throws {
        let folder = try TemporaryFolder()
        let users = "user,state\n" + (0..<40).map { "u\($0),s\($0 % 3)\n" }.joined()
        var settings = Checkerboard.settings(try folder.write(Checkerboard.csv(), to: "events.csv"))
        settings.users = EntityTable(
            table: .init(.csv, try folder.write(users, to: "users.csv")),
            id: "user"
        )
        settings.features = [Feature("state", of: .users, .category(.init(column: "state")))]
        let dataset = try settings.built().dataset
        let whole = try trained(dataset)
        _ = try trained(
            dataset,
            progress: { if $0.step == 4 { try $0.writeState(to: folder.path) } }
        )
        #expect(try trained(dataset, from: folder.path).model.vectors == whole.model.vectors)
    }

    @Test func `it stops when told to, and is the same again with the same seed`() throws {
        let dataset = try dataset()
        #expect(throws: Stopped.self) {
            _ = try trained(dataset, progress: { _ in throw Stopped() })
        }
        let first = try trained(dataset).model
        #expect(try trained(dataset).model.vectors == first.vectors)
        #expect(try trained(dataset) { $0.training.seed = 2 }.model.vectors != first.vectors)
        // Threads differ in the last bits, which AdamW would make much of.
        let plain = try [1, 3].map { threads in
            try trained(dataset) {
                $0.threads = threads
                $0.optimiser.kind = .sgd
                $0.optimiser.learningRate = 1
            }.model.vectors.values
        }
        for (a, b) in zip(plain[0], plain[1]) { #expect(abs(a - b) < 1e-4) }
    }

    @Test func `a batch larger than the data is all of it`() throws {
        let dataset = try dataset()
        var steps = 0
        _ = try trained(dataset) {
            $0.training.batch = 10_000
        } progress: { _ in
            steps += 1
        }
        #expect(steps == 8)
    }

    // MARK: who is known

    @Test func `users and items that training did not meet have vectors of their features`() throws
    {
        // The test part has users of its own, and items that only they had.
        let dataset = try dataset(split: .users(validation: 0, test: 0.2, seed: 1))
        let known = Set(
            (0..<40).filter { user in
                dataset.events(ofUser: user).contains { dataset.eventParts[$0] == 0 }
            }
        )
        #expect(known.count == 32)
        let model = try trained(dataset).model
        let popular = Popularity.train(dataset, on: .forTraining)
        let ranker = try Ranker(model, fallback: popular, ListRules(k: 3))
        let lists = try ranker.lists(for: (0..<40).map { Query(user: $0, history: []) })
        #expect(lists.allSatisfy { !$0.isCold && $0.items.count == 3 })
        let strangers = (0..<40).filter { !known.contains($0) }
        // Of one group they are the same to the model, of two groups they are not.
        let scores = Dictionary(grouping: strangers.map { lists[$0].scores[0] }, by: \.self)
        #expect(scores.count > 1 && scores.count < strangers.count)
        #expect(model.items.count == dataset.items.count)
    }

    @Test func `smoothed, an item's vector has those of the users who had it`() throws {
        let folder = try TemporaryFolder()
        // u0 has had i1 twice, which counts once.
        let events =
            "user,item,time\nu0,i1,9\nu0,i9,10\n"
            + (0..<30).map { "u\($0 % 10),i\($0 * 7 % 11),\($0)\n" }.joined()
        let settings = Checkerboard.settings(try folder.write(events, to: "events.csv"))
        let dataset = try settings.built().dataset
        var plain = TwoTowerSettings()
        plain.embedding = 4
        plain.towers = []
        plain.training.epochs = 2
        var smooth = plain
        smooth.smoothing = 0.5
        let without = try TwoTower.train(dataset, on: .forTraining, plain).model
        let with = try TwoTower.train(dataset, on: .forTraining, smooth).model
        guard case .users(let vectors, let userRows) = without.queries else {
            return #expect(Bool(false))
        }
        var had: [Int: Set<Int>] = [:]
        for user in 0..<dataset.users.count {
            for event in dataset.events(ofUser: user)
            where dataset.eventParts[event] == Part.train.rawValue {
                had[user, default: []].insert(Int(dataset.eventItems[event]))
            }
        }
        #expect(had.count == 10 && with.items == without.items)
        for item in with.items.map({ Int($0) }) {
            let row = Int(with.rows[item])
            var expected = Array(without.vectors[row: row])
            let users = had.filter { $0.value.contains(item) }
            for (user, items) in users {
                let share = 0.5 / Float(items.count * users.count).squareRoot()
                for (column, value) in vectors[row: Int(userRows[user])].enumerated() {
                    expected[column] += share * value
                }
            }
            for (a, b) in zip(expected, with.vectors[row: row]) { #expect(abs(a - b) < 1e-5) }
        }
    }

    @Test func `with nothing but ids, strangers get the popularity list`() throws {
        let folder = try TemporaryFolder()
        let path = try folder.write(Checkerboard.csv(), to: "events.csv")
        let dataset = try Checkerboard.settings(
            path,
            split: .users(validation: 0, test: 0.2, seed: 1)
        ).built().dataset
        let model = try trained(dataset).model
        let popular = Popularity.train(dataset, on: .forTraining)
        let ranker = try Ranker(model, fallback: popular, ListRules(k: 3))
        let lists = try ranker.lists(for: (0..<40).map { Query(user: $0, history: []) })
        #expect(lists.count { $0.isCold } == 8)
        let best = try ranker.defaultList().items
        #expect(lists.filter(\.isCold).allSatisfy { $0.items == best })
    }

    @Test func `towers without layers need vectors of one width`() throws {
        let dataset = try dataset()
        let error = #expect(throws: PredictorError.self) {
            _ = try trained(dataset) { $0.towers = [] }
        }
        #expect("\(try #require(error))".contains("16 numbers, those of items 17"))
    }

    @Test func `embeddings beyond the machine's memory are refused before they are made`() throws {
        let dataset = try dataset()
        let wide = TrainingMemory.available / 4 / 30
        let error = #expect(throws: PredictorError.self) {
            _ = try trained(dataset) { $0.embedding = wide }
        }
        let text = "\(try #require(error))"
        #expect(text.contains("the embeddings of 40 users, 24 items"))
        #expect(text.contains("GiB") && text.contains("hint"))
        var settings = TwoTowerSettings()
        settings.embedding = 10
        settings.optimiser.kind = .adagrad
        // 41 and 25 ids, 7 codes of groups, 7 of tags: values and sums, twice, and the best so far.
        let bytes = settings.memory(users: 40, items: 24, dataset.schema)
        #expect(bytes == (41 + 25 + 7 + 7) * 10 * 4 * 5)
    }
}
