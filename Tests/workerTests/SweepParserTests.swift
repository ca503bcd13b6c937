// SPDX-License-Identifier: Apache-2.0
import Jobs
import Predictor
import Tables
import Testing

@testable import worker

struct SweepParserTests {
    private func text(
        _ model: String,
        check: String = "[]",
        split: String = "{ by: leave-last-one, validation: true }"
    ) -> String {
        """
        feed: f
        dataset:
          source: { csv: e.csv }
          columns: { user: u, item: i }
          split: \(split)
        model: \(model)
        predict: { for: users, k: 20 }
        check: \(check)
        """
    }

    @Test func `a grid has every combination, the last key fastest`() throws {
        let pipeline = try PipelineText.parse(
            text(
                "{ kind: two-tower, sweep: { embedding: [8, 16], towers: [[], [32, 16]] }, "
                    + "select: recall@20, learning-rate: 0.5 }"
            )
        )
        let sweep = try #require(pipeline.sweep)
        #expect(
            sweep.arms.map(\.name) == [
                "embedding 8, towers []", "embedding 8, towers [32, 16]", "embedding 16, towers []",
                "embedding 16, towers [32, 16]",
            ]
        )
        #expect(sweep.select == "recall@20" && sweep.k == 20 && sweep.join == .any)
        guard case .twoTower(let last) = sweep.arms[3].model else {
            Issue.record("not two-tower")
            return
        }
        #expect(last.embedding == 16 && last.towers == [32, 16])
        #expect(last.optimiser.learningRate == 0.5)
        #expect(pipeline.model == sweep.arms[0].model)
    }

    @Test func `kinds of models are settings too`() throws {
        let sweep = try PipelineText.parse(text("{ sweep: { kind: [popularity, item-knn] } }"))
            .sweep
        #expect(sweep?.arms.map(\.model.kind) == ["popularity", "item-knn"])
        #expect(sweep?.select == "ndcg@10")
    }

    @Test func `random arms are drawn from lists and ranges, the same each time`() throws {
        let model =
            "{ kind: prod2vec, sweep: { random: { arms: 30, seed: 4 }, window: { from: 2, to: 9 }, "
            + "alpha: { from: 0.001, to: 0.1, scale: log }, skip-gram: [true, false] } }"
        let arms = try #require(try PipelineText.parse(text(model)).sweep).arms
        #expect(arms.count == 30 && Set(arms.map(\.name)).count == 30)
        var small = 0
        for arm in arms {
            guard case .prod2vec(let settings) = arm.model else { continue }
            #expect((2...9).contains(settings.window))
            #expect((0.001...0.1).contains(settings.alpha))
            if settings.alpha < 0.01 { small += 1 }
        }
        // Half of a log scale is below its middle.
        #expect((8...22).contains(small))
        #expect(try PipelineText.parse(text(model)).sweep?.arms == arms)
        let others = try PipelineText.parse(text(model.replacing("seed: 4", with: "seed: 5")))
            .sweep?.arms
        #expect(others != arms)
    }

    @Test func `a small space has fewer arms than are drawn`() throws {
        let sweep = try PipelineText.parse(
            text("{ kind: als, sweep: { random: 50, factors: [8, 16], alpha: [1, 2] } }")
        ).sweep
        #expect(sweep?.arms.count == 4)
    }

    @Test func `halving trains one in three three times as long`() throws {
        let sweep = try PipelineText.parse(
            text(
                "{ kind: two-tower, sweep: { halving: 3, seed: [1, 2, 3, 4, 5, 6, 7, 8, 9, 10] } }"
            )
        ).sweep
        let rounds = try #require(sweep).rounds
        #expect(rounds.map(\.arms) == [10, 3, 1])
        #expect(rounds.map { ($0.until * 9).rounded() } == [1, 3, 9])
        let names = RunPlan.jobs(
            try PipelineText.parse(
                text("{ kind: prod2vec, sweep: { halving: 2, seed: [1, 2, 3] } }")
            )
        ).map(\.name)
        #expect(
            names == [
                "prepare", "select round 1", "select", "check", "refit", "predict", "publish",
                "collect",
            ]
        )
    }

    @Test(arguments: [
        ("any", Sweep.Join.any), ("all", .all), ("first-good", .atLeast(1)),
        ("{ at-least: 2 }", .atLeast(2)), ("{ best-of: 30m }", .bestOf(1800)),
    ])
    func `joins are read`(_ text: String, _ join: Sweep.Join) throws {
        let model = "{ kind: als, sweep: { join: \(text), factors: [8, 16] } }"
        #expect(try PipelineText.parse(self.text(model)).sweep?.join == join)
    }

    @Test(arguments: [
        ("{ embedding: [8, -1] }", "p.yaml:6: model: embedding is \"-1\", but must be a whole"),
        ("{ embeding: [8, 16] }", "p.yaml:6: model has no key \"embeding\"; did you mean"),
        ("{ embedding: 8 }", "must be a list of values"),
        ("{}", "names no setting"),
        ("{ embedding: { from: 8, to: 16 } }", "is a range, which needs random"),
        ("{ random: 3, embedding: { from: 16, to: 8 } }", "must be below `to:`"),
        ("{ random: 3, learning-rate: { from: 0, to: 1, scale: log } }", "above 0 on a log scale"),
        (
            "{ random: 3, learning-rate: { from: 0.1 } }",
            "model: sweep: learning-rate: to is missing"
        ),
        ("{ random: { seed: 3 }, embedding: [8] }", "random: arms is missing"),
        ("{ halving: 1, embedding: [8] }", "must be a whole number from 2 to 100"),
        ("{ join: some, embedding: [8] }", "one of any, all, first-good"),
        ("[1, 2]", "must be a mapping"),
    ])
    func `a wrong sweep is told once`(_ sweep: String, _ words: String) {
        let found = PipelineText.problems(text("{ kind: two-tower, sweep: \(sweep) }"))
        #expect(found.count == 1 && found[0].contains(words), "\(found)")
    }

    @Test func `a sweep that cannot be is told why`() {
        let values = (1...40).map(String.init).joined(separator: ", ")
        let grid = "{ kind: als, sweep: { seed: [\(values)], factors: [\(values)] } }"
        #expect(PipelineText.problems(text(grid)).first?.contains("more than 1000 arms") == true)
        let knn = "{ kind: item-knn, sweep: { halving: 3, neighbours: [8, 16] } }"
        #expect(
            PipelineText.problems(text(knn)).contains { $0.contains("item-knn is trained whole") }
        )
        let few = "{ kind: als, sweep: { factors: [8, 16] } }"
        #expect(
            PipelineText.problems(text(few, split: "leave-last-one")).first?.contains(
                "needs a validation part"
            )
                == true
        )
        #expect(
            PipelineText.problems(text("{ kind: als, sweep: { factors: [8] }, select: ndgc@10 }"))
                .first?
                .contains("a metric and a length") == true
        )
        #expect(
            PipelineText.problems(text("{ kind: als, sweep: { factors: [8] }, select: ndcg@30 }"))
                .first?
                .contains("no longer than predict: k, 20") == true
        )
        #expect(
            PipelineText.problems(text("{ kind: als, select: ndcg@10 }")).first?.contains(
                "no key \"select\""
            )
                == true
        )
    }

    // MARK: check

    @Test func `a list of gates is a check with the usual baselines`() throws {
        let check = try PipelineText.parse(text("{ kind: als }", check: "[recall@10 > popularity]"))
            .check
        #expect(check.gates.map(\.text) == ["recall@10 > popularity"])
        // There is no time to be recent by.
        #expect(check.baselines == [.popularity, .itemKNN])
        #expect(check.slices == ["item-popularity", "user-activity"])
    }

    @Test func `a check is read with all that it can be told`() throws {
        let check = try PipelineText.parse(
            text(
                "{ kind: als }",
                check:
                    "{ baselines: [last-item], slices: [], cases: bad.tsv, gates: [\"mred@10[user-activity] < 0.2\"] }"
            )
        ).check
        #expect(check.baselines == [.popularity, .lastItem])
        // What a gate asks for is measured.
        #expect(check.slices == ["user-activity"])
        #expect(check.cases?.text == "/home/me/bad.tsv" && check.cases?.kind == .tsv)
    }

    @Test(arguments: [
        ("[recall@10 > populrity]", "did you mean popularity?"),
        ("[recall@50 > 0.1]", "lists have 20 items"),
        ("[recall@10 > last-item]", "last-item is not among check: baselines"),
        ("[\"recall@10[colour=red] > 0\"]", "there are no slices by \"colour\""),
        ("[\"recall@20[user-activity=low] > 0\"]", "recall is measured so at 10 only"),
        ("{ baselines: [item-kn] }", "did you mean item-knn?"),
        ("{ baselines: [recent-popularity] }", "needs dataset: columns: time"),
        ("[\"recall@10[user-activity=medium] > 0\"]", "is one of low, middle, high, new"),
        ("{ gate: [] }", "did you mean \"gates\"?"),
        ("{ slices: [user-activty] }", "did you mean user-activity?"),
        ("recall", "must be a list of gates"),
    ])
    func `a wrong check is told`(_ check: String, _ words: String) {
        let found = PipelineText.problems(text("{ kind: als }", check: check))
        #expect(found.contains { $0.hasPrefix("p.yaml:8: ") && $0.contains(words) }, "\(found)")
    }
}
