// SPDX-License-Identifier: Apache-2.0
import Predictor
import Testing

@testable import worker

struct ModelParserTests {
    private func model(_ text: String) throws -> Pipeline.Model {
        try PipelineText.parse(
            """
            feed: f
            dataset:
              source: { csv: e.csv }
              columns: { user: u, item: i, time: t }
            model: \(text)
            predict: { for: users }
            """
        ).model
    }

    @Test func `least squares have their own keys`() throws {
        var settings = ALSSettings()
        #expect(try model("{ kind: als }") == .als(settings))
        settings.factors = 8
        settings.regularization = 0.3
        settings.alpha = 10
        settings.iterations = 3
        settings.seed = 4
        settings.threads = 2
        let found = try model(
            """
            { kind: als, factors: 8, regularization: 0.3, alpha: 10, iterations: 3, seed: 4, threads: 2 }
            """
        )
        #expect(found == .als(settings))
        for (text, problem) in [
            ("{ kind: als, vector-size: 8 }", "vector-size"),
            ("{ kind: als, factors: 0 }", "factors"),
            ("{ kind: als, regularisation: 1 }", "did you mean \"regularization\"?"),
            ("{ kind: al }", "als"),
        ] {
            let error = #expect(throws: PipelineError.self) { _ = try model(text) }
            #expect("\(try #require(error))".contains(problem))
        }
    }

    private func with(model: String, _ more: String = "", predict: String = "users") -> String {
        """
        feed: f
        dataset: { source: { csv: e.csv }, columns: { user: u, item: i } }
        model: \(model)
        \(more)
        predict: { for: \(predict) }
        """
    }

    @Test func `networks are read with all that they can be told`() throws {
        let text = with(
            model: """
                { kind: two-tower, embedding: 32, towers: [], optimizer: adagrad, schedule: cosine,
                  learning-rate: 0.01, warm-up: 5, weight-decay: 0.1, clip: 1, dropout: 0.1,
                  temperature: 0.2, normalize: false, logq: false, accidental-hits: keep, queue: 7,
                  sampled-negatives: 9, sampler: popularity, epochs: 3, batch: 100, seed: 5,
                  validate-every: 20, patience: 4, threads: 2 }
                """,
            "rank: { kind: rating-mlp, candidates: 30, label: rating >= 4, embedding: 8, layers: [5] }"
        )
        let pipeline = try PipelineText.parse(text)
        var wanted = TwoTowerSettings()
        wanted.embedding = 32
        wanted.towers = []
        wanted.optimiser.kind = .adagrad
        wanted.optimiser.schedule = .cosine
        wanted.optimiser.learningRate = 0.01
        wanted.optimiser.warmUp = 5
        wanted.optimiser.weightDecay = 0.1
        wanted.optimiser.clip = 1
        wanted.dropout = 0.1
        wanted.temperature = 0.2
        wanted.normalise = false
        wanted.logQ = false
        wanted.masksAccidentalHits = false
        wanted.queue = 7
        wanted.sampledNegatives = 9
        wanted.sampler = .popularity
        wanted.training.epochs = 3
        wanted.training.batch = 100
        wanted.training.seed = 5
        wanted.training.validateEvery = 20
        wanted.training.patience = 4
        wanted.threads = 2
        #expect(pipeline.model == .twoTower(wanted))
        var ranker = RatingMLPSettings()
        ranker.label = Condition("rating >= 4")
        ranker.embedding = 8
        ranker.layers = [5]
        #expect(pipeline.rank == Pipeline.Rank(model: .ratingMLP(ranker), candidates: 30))
        let merlin = try PipelineText.parse(with(model: "{ kind: two-tower, compat: merlin }"))
        guard case .twoTower(let settings) = merlin.model else { throw CancellationError() }
        #expect(settings == .merlin && settings.isMerlin && settings.towers == [128, 64])
        let near = try PipelineText.parse(
            with(model: "{ kind: item-knn, neighbors: 7, shrinkage: 2.5 }")
        )
        var neighbours = ItemKNNSettings()
        neighbours.neighbours = 7
        neighbours.shrinkage = 2.5
        #expect(near.model == .itemKNN(neighbours))
    }

    @Test func `a session transformer is read with all that it can be told`() throws {
        let text = with(
            model: """
                { kind: session-transformer, masking: mlm, mask-probability: 0.2, width: 32, heads: 4,
                  layers: 3, inner: 64, dropout: 0.1, length: 30, windows: day, learning-rate: 0.01,
                  epochs: 3, batch: 100, seed: 5, threads: 2, sampled-negatives: 500 }
                """,
            predict: "sessions, recent: 2d"
        )
        let pipeline = try PipelineText.parse(
            text.replacing("item: i }", with: "item: i, time: t }")
        )
        var wanted = SessionTransformerSettings()
        wanted.masking = .mlm
        wanted.maskProbability = 0.2
        wanted.width = 32
        wanted.heads = 4
        wanted.layers = 3
        wanted.inner = 64
        wanted.dropout = 0.1
        wanted.length = 30
        wanted.windows = 86_400
        wanted.sampledNegatives = 500
        wanted.optimiser.learningRate = 0.01
        wanted.training.epochs = 3
        wanted.training.batch = 100
        wanted.training.seed = 5
        wanted.threads = 2
        #expect(pipeline.model == .sessionTransformer(wanted))
        #expect(pipeline.predict.audience == .sessions && pipeline.predict.recent == 172_800)
        #expect(!pipeline.predict.rules.excludesSeen)
        let compat = try PipelineText.parse(
            with(model: "{ kind: session-transformer, compat: transformers4rec }")
        )
        guard case .sessionTransformer(let settings) = compat.model else {
            throw CancellationError()
        }
        #expect(settings == .transformers4Rec && settings.masking == .mlm && settings.length == 20)
    }

    @Test func `windows need a time`() {
        let text = with(model: "{ kind: session-transformer, windows: day }")
        #expect(
            PipelineText.problems(text).contains {
                $0.contains("windows need dataset: columns: time")
            }
        )
    }

    @Test(arguments: [
        ("{ kind: session-transformer, width: 30, heads: 4 }", "", "each of the 4 `heads:`"),
        ("{ kind: session-transformer, windows: fortnight }", "", "hour"),
        ("{ kind: session-transformer, mask-probability: 0.2 }", "", "mask-probability"),
        (
            "{ kind: session-transformer, compat: transformers4rec, masking: causal }", "",
            "masking"
        ),
        ("{ kind: two-tower, towers: [64, big] }", "", "towers is a list or mapping"),
        ("{ kind: two-tower, towers: [0] }", "", "a list of widths, like [128, 64]"),
        ("{ kind: two-tower, optimizer: adam }", "", "adamw"),
        ("{ kind: two-tower, compat: merlin, normalize: true }", "", "normalize"),
        ("{ kind: rating-mlp }", "", "rating-mlp"),
        ("{ kind: als }", "rank: { kind: als }", "als"),
        ("{ kind: als }", "rank: { kind: rating-mlp, layers: [] }", "one width or more"),
        ("{ kind: als }", "rank: { kind: rating-mlp, label: nice }", "like rating >= 4"),
        ("{ kind: als }", "rank: { kind: rating-mlp, label: a == x }", "like rating >= 4"),
    ])
    func `what a network cannot be told is told`(_ model: String, _ rank: String, _ words: String) {
        let found = PipelineText.problems(with(model: model, rank))
        #expect(found.contains { $0.contains(words) }, "\(found)")
    }

    @Test func `lists for items are not ranked`() {
        let found = PipelineText.problems(
            with(model: "{ kind: als }", "rank: { kind: rating-mlp }", predict: "items")
        )
        #expect(found.contains { $0.contains("rank: orders lists for users, not for items") })
    }
}
