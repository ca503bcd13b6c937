// SPDX-License-Identifier: Apache-2.0
import TestSupport
import Testing

@testable import Predictor

/// Trainings that stop at a share of their steps, as in successive halving.
struct PauseTests {
    private let folder: TemporaryFolder
    private let dataset: Dataset

    init() throws {
        folder = try TemporaryFolder()
        let path = try folder.write(Checkerboard.csv(users: 3000), to: "events.csv")
        dataset = try Checkerboard.settings(path).built().dataset
    }

    private func prod2vec(threads: Int) -> Prod2VecSettings {
        var settings = Prod2VecSettings()
        settings.vectorSize = 8
        settings.minCount = 1
        settings.epochs = 3
        settings.threads = threads
        return settings
    }

    @Test func `prod2vec in three parts ends in the same bits`() throws {
        let settings = prod2vec(threads: 1)
        let whole = try Prod2Vec.train(dataset, on: .all, settings)
        var state: Prod2Vec.State?
        var parts: [RetrievalModel] = []
        for share in [1.0 / 9, 1.0 / 3, 1] {
            parts.append(
                try Prod2Vec.train(dataset, on: .all, settings, until: share, from: state) {
                    guard $0.isLast else { return }
                    #expect($0.fraction >= share && $0.fraction < share + 0.2)
                    try $0.state().write(to: folder.path)
                }
            )
            state = try Prod2Vec.State(from: folder.path)
        }
        #expect(parts[2].vectors == whole.vectors)
        #expect(parts[0].vectors != parts[1].vectors && parts[1].vectors != whole.vectors)
    }

    @Test func `threads that end at different times leave one state, of the share`() throws {
        let settings = prod2vec(threads: 3)
        var last: [Prod2Vec.State] = []
        _ = try Prod2Vec.train(dataset, on: .all, settings, until: 0.5) {
            if $0.isLast { last.append($0.state()) }
        }
        let steps = try Corpus(dataset, parts: .all, settings).chunks(of: 10_000).count * 3
        #expect(last.count == 1)
        #expect(last.first?.step == (steps + 1) / 2)
        var first: Double?
        _ = try Prod2Vec.train(dataset, on: .all, settings, from: last.first) {
            first = first ?? $0.fraction
        }
        #expect((first ?? 0) > 0.5)
    }

    @Test func `als in four parts ends in the same bits`() throws {
        var settings = ALSSettings()
        settings.factors = 8
        settings.iterations = 5
        let whole = try ALS.train(dataset, on: .all, settings)
        var state: ALS.State?
        var parts: [RetrievalModel] = []
        // The second is done by the first's iteration, and adds none.
        for (share, iterations) in [(0.15, 1), (0.2, 1), (0.5, 3), (1, 5)] {
            var stops: [Int] = []
            parts.append(
                try ALS.train(dataset, on: .all, settings, until: share, from: state) { progress in
                    guard progress.isLast else { return }
                    stops.append(progress.iteration)
                    try progress.state?.write(to: folder.path)
                }
            )
            #expect(stops == (share == 0.2 ? [] : [iterations]))
            state = try ALS.State(from: folder.path)
            #expect(state?.iterations == iterations)
        }
        #expect(parts[3].vectors == whole.vectors)
        #expect(parts[0].vectors == parts[1].vectors && parts[2].vectors != whole.vectors)
        settings.factors = 4
        #expect(throws: PredictorError.self) {
            try ALS.train(dataset, on: .all, settings, from: state)
        }
    }

    @Test func `a network in two parts ends in the same bits`() throws {
        var settings = TwoTowerSettings()
        settings.embedding = 8
        settings.towers = []
        settings.training.epochs = 3
        settings.training.batch = 2048
        let whole = try TwoTower.train(dataset, on: .all, settings)
        var last = 0
        let first = try TwoTower.train(
            dataset,
            on: .all,
            settings,
            until: 1.0 / 3,
            progress: { progress in
                guard progress.isLast else { return }
                last = progress.step
                try progress.writeState(to: folder.path)
            }
        )
        #expect(last == first.outcome.stepsOfEpoch && first.outcome.epochs == 1)
        let second = try TwoTower.train(dataset, on: .all, settings, from: folder.path)
        #expect(second.model.vectors == whole.model.vectors)
        #expect(second.outcome == whole.outcome)
        #expect(first.model.vectors != whole.model.vectors)
    }
}
