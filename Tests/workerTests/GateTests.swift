// SPDX-License-Identifier: Apache-2.0
import Predictor
import Testing

@testable import worker

struct GateTests {
    private func problem(_ text: String) -> String {
        do throws(Gate.Problem) {
            _ = try Gate(parsing: text)
            return ""
        } catch {
            return error.text
        }
    }

    @Test func `gates are read`() throws {
        let margin = try Gate(parsing: "recall@10 >= live - 0.002")
        #expect(margin.metric == "recall@10" && margin.k == 10 && margin.dimension == nil)
        #expect(margin.comparison == .atLeast && margin.other == "live" && margin.bound == -0.002)
        let plain = try Gate(parsing: "ndcg@20>recent-popularity")
        #expect(plain.comparison == .above && plain.other == "recent-popularity")
        #expect(plain.bound == 0)
        let range = try Gate(parsing: "overlap-with-live@10 in [0.2, 98%]")
        #expect(range.isOfLists && range.bound == 0.2 && range.upperBound == 0.98)
        let slice = try Gate(parsing: "hit-rate@10[genres=Film-Noir 2] > item-knn + 1%")
        #expect(slice.name == "hit-rate" && slice.dimension == "genres" && slice.bound == 0.01)
        #expect(slice.metric == "hit-rate@10[genres=Film-Noir 2]")
        #expect(try Gate(parsing: "mred@10[user-activity] <= 0.1").dimension == "user-activity")
    }

    @Test(arguments: [
        ("recall@10", "must be a comparison such as"),
        ("recal@10 > 0.1", "did you mean recall?"),
        ("recall > 0.1", "needs a length, such as recall@10"),
        ("recall@0 > 0.1", "must be a comparison"), ("recall@010 > 0.1", "must be a comparison"),
        ("recall@10 > popularty", "did you mean popularity?"),
        ("recall@10 > live * 2", "is no number, no baseline and not live"),
        ("recall@10 > live - x", "is no number"),
        ("recall@10 > nan", "is nothing to compare with"),
        ("recall@10 in [0.5, 0.2]", "two numbers in order"),
        ("recall@10 in 0.2", "two numbers in order"),
        ("overlap-with-live@10 > live", "compared with numbers only"),
        ("share-of-short-lists@10 < 1%", "is of whole lists"),
        ("mrr@10[genres=Drama] > 0", "slices have hit-rate, recall, ndcg only"),
        ("recall@10[genres] > 0", "needs a value"),
        ("mred@10 < 0.1", "needs what divides the queries"),
    ])
    func `what is no gate is told why`(_ text: String, _ words: String) {
        #expect(problem(text).contains(words), "\(problem(text))")
    }

    private var report: EvaluationReport {
        var report = EvaluationReport()
        var model = EvaluationReport.System(name: "model")
        model.metrics = ["recall@10": Estimate(value: 0.2, low: 0.15, high: 0.25)]
        var live = EvaluationReport.System(name: "live")
        live.metrics = ["recall@10": Estimate(value: 0.19, low: 0.14, high: 0.24)]
        live.differences = [
            "recall@10": Difference(value: 0.01, low: -0.005, high: 0.025, probability: 0.9)
        ]
        report.systems = [model, live]
        return report
    }

    private func outcome(_ text: String, withoutLive: String? = nil) throws -> GateOutcome {
        try Gate(parsing: text).outcome(report, withoutLive: withoutLive)
    }

    @Test(arguments: [
        ("recall@10 >= 0.2", true), ("recall@10 >= 0.21", false), ("recall@10 > 0.14", true),
        // Above, but not with confidence.
        ("recall@10 > 0.16", false), ("recall@10 < 0.26", true), ("recall@10 < 0.22", false),
        ("recall@10 <= 0.2", true), ("recall@10 in [0.2, 0.3]", true),
        ("recall@10 in [0.1, 0.15]", false), ("recall@10 > live", false),
        ("recall@10 >= live", true), ("recall@10 > live - 0.01", true),
        ("recall@10 >= live + 0.02", false), ("recall@10 < live + 0.03", true),
        ("recall@10 <= live", false),
    ])
    func `gates hold or not`(_ text: String, _ holds: Bool) throws {
        let outcome = try outcome(text)
        #expect(outcome.holds == holds, "\(outcome)")
    }

    @Test func `what fails is told by how much`() throws {
        #expect(try outcome("recall@10 >= 0.21").finding.contains("fails by 0.0100"))
        #expect(
            try outcome("recall@10 in [0.1, 0.15]").finding.contains("fails by 0.0500")
        )
        #expect(
            try outcome("recall@10 > 0.16").finding
                .contains("above, but not beyond its interval (-0.0100)")
        )
        let live = try outcome("recall@10 >= live + 0.02").finding
        #expect(
            live == "0.2000, live 0.1900: a difference of 0.0100 [-0.0050, 0.0250], fails by 0.0100"
        )
    }

    @Test func `what was not measured does not hold, but for a first release`() throws {
        let missing = try outcome("ndcg@10[genres=Drama] > 0.1")
        #expect(!missing.holds && missing.finding.contains("no such slice"))
        var first = report
        first.systems.removeLast()
        let gate = try Gate(parsing: "recall@10 > live")
        #expect(gate.outcome(first, withoutLive: nil).holds)
        let gone = gate.outcome(first, withoutLive: "release 3, which is live, cannot be measured")
        #expect(!gone.holds && gone.finding.contains("release 3"))
    }
}
