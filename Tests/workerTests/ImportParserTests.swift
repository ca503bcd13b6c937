// SPDX-License-Identifier: Apache-2.0
import Jobs
import Predictor
import Tables
import Testing

@testable import worker

struct ImportParserTests {
    private func text(
        model: String = "{ kind: lists, score: p }",
        dataset: String = "",
        predict: String = "{ for: users, k: 20 }",
        more: String = ""
    ) -> String {
        """
        feed: f
        dataset:
          source: { csv: lists.csv }
          columns: { user: who, item: what }
        \(dataset)
        model: \(model)
        predict: \(predict)
        \(more)
        """
    }

    @Test func `lists are served as they are, and nothing is measured`() throws {
        let pipeline = try PipelineText.parse(text())
        #expect(pipeline.model == .lists(score: "p") && pipeline.model.isImported)
        #expect(!pipeline.predict.rules.excludesSeen)
        #expect(pipeline.dataset.split == .users(validation: 0, test: 0, seed: 1))
        #expect(pipeline.dataset.keep.positive?.column == "p")
        #expect(pipeline.dataset.features.map(\.name) == ["p"])
        #expect(
            RunPlan.jobs(pipeline).map(\.name)
                == ["prepare", "refit", "predict", "publish", "collect"]
        )
        let plain = try PipelineText.parse(text(model: "{ kind: lists }"))
        #expect(plain.dataset.features.isEmpty && plain.dataset.keep.positive == nil)
        // Of items too, whose ids stand where events have their users.
        let items = try PipelineText.parse(text(predict: "{ for: items, k: 20 }"))
        #expect(items.owners == .users && items.predict.audience == .items)
        #expect(pipeline.owners == .users)
    }

    @Test(
        arguments: [
            (["model": "{ kind: lists, score: p, factors: 3 }"], "factors"),
            (
                ["model": "{ kind: lists }", "more": "publish: { format: packed-scored }"],
                "needs model: score"
            ),
            (["dataset": "  split: leave-last-one"], "is for measuring"),
            (["predict": "{ for: sessions, k: 20 }"], "are for users or items"),
            (["predict": "{ for: users, k: 20, exclude: seen }"], "what was seen"),
            (["more": "rank: { kind: rating-mlp }"], "have their order"),
            (["more": "check: [ndcg@10 > popularity]"], "gates of lists are"),
        ] as [([String: String], String)]
    )
    func `what is not for lists is told`(_ change: [String: String], _ words: String) {
        let problems = PipelineText.problems(
            text(
                model: change["model"] ?? "{ kind: lists, score: p }",
                dataset: change["dataset"] ?? "",
                predict: change["predict"] ?? "{ for: users, k: 20 }",
                more: change["more"] ?? ""
            )
        )
        #expect(problems.count == 1 && problems[0].contains(words), "\(problems)")
    }

    @Test func `gates of lists hold for them too`() throws {
        let gates = "check: [overlap-with-live@10 >= 0.2, share-of-short-lists <= 0.5]"
        #expect(try PipelineText.parse(text(more: gates)).check.gates.count == 2)
        #expect(
            PipelineText.problems(
                text().replacing("what }", with: "what, time: when }")
            ).first?.contains("columns: time is of events") == true
        )
        // They have read what arms are measured by.
        let sweep = PipelineText.problems(
            text(
                model: "{ sweep: { kind: [item-knn, lists] } }",
                dataset: "  split: { by: sequences, validation: 0.1, test: 0.1, seed: 1 }"
            )
        )
        #expect(sweep.count == 1 && sweep[0].contains("no arm can be of kind lists"), "\(sweep)")
    }

    @Test func `scores may be called anything, but not twice`() throws {
        let spaced = try PipelineText.parse(text(model: "{ kind: lists, score: predicted score }"))
        #expect(spaced.dataset.keep.positive?.column == "predicted score")
        #expect(spaced.dataset.keep.positive?.comparison == .atLeast)
        for (dataset, words) in [
            ("  keep: { positive: kind == home }", "has no place beside model: score"),
            ("  features: { events: { p: { number: q } } }", "a feature is called p too"),
        ] {
            let problems = PipelineText.problems(text(dataset: dataset))
            #expect(problems.count == 1 && problems[0].contains(words), "\(problems)")
        }
    }

    @Test func `a field of CSV is quoted by its bytes`() {
        for (text, field) in [
            ("a b", "a b"), ("a,b", "\"a,b\""), ("a\"b", "\"a\"\"b\""), ("a\nb", "\"a\nb\""),
            ("a\"\u{301}b", "\"a\"\"\u{301}b\""), ("", ""),
        ] {
            #expect(ExportCommand.field(text.utf8) == Array(field.utf8))
        }
    }
}
