// SPDX-License-Identifier: Apache-2.0
import Testing

@testable import Predictor

/// Figures, their intervals and their differences.
struct EstimateTests {
    @Test func `metrics are those of the definitions`() {
        let score = ListScore([5, 1, 9, 2], truth: [9, 2, 7], k: 3)
        #expect(score.hitRate == 1)
        #expect(score.recall == 1.0 / 3)
        #expect(score.precision == 1.0 / 3)
        #expect(score.mrr == 1.0 / 3)
        #expect(score.map == 1.0 / 9)
        // One hit at rank 3, three were possible at ranks 1, 2 and 3.
        #expect(abs(score.ndcg - 0.5 / (1 + 0.6309297535714575 + 0.5)) < 1e-12)
        let perfect = ListScore([1, 2], truth: [1, 2], k: 10)
        #expect(perfect.ndcg == 1 && perfect.recall == 1 && perfect.mrr == 1 && perfect.map == 1)
        let miss = ListScore([1, 2], truth: [3], k: 10)
        #expect(ListScore.metrics.allSatisfy { $0.value(miss) == 0 })
    }

    private func sums(_ rows: [[Float]]) -> Resampling {
        var sums = Resampling(columns: rows[0].count)
        sums.add(rows.flatMap(\.self))
        return sums
    }

    @Test func `the bootstrap interval holds the mean and is as wide as the normal one`() {
        // 400 coins, 100 heads: the standard error is 0.0217.
        let sums = sums((0..<400).map { [1, $0 % 4 == 0 ? 1 : 0, 0.5] })
        let coins = sums.ratio(1, of: 0).estimate
        #expect(coins.value == 0.25)
        #expect(abs(coins.low - 0.2075) < 0.006)
        #expect(abs(coins.high - 0.2925) < 0.006)
        let same = sums.ratio(2, of: 0).estimate
        #expect(same == Estimate(value: 0.5, low: 0.5, high: 0.5))
    }

    @Test func `queries are drawn by a Poisson variable of mean one, whatever they come in`() {
        let queries = 3000
        let all = sums((0..<queries).map { [1, Float($0 % 7)] })
        let mean = all.drawn.enumerated().reduce(0) { $1.offset % 2 == 0 ? $0 + $1.element : $0 }
        #expect(abs(mean / Double(Resampling.draws * queries) - 1) < 0.002)
        // The sum of so many of them has their number as its variance.
        let variance = (0..<Resampling.draws).reduce(0) { sum, draw in
            let less = all.drawn[2 * draw] - Double(queries)
            return sum + less * less
        }
        #expect(abs(variance / Double(Resampling.draws * queries) - 1) < 0.15)
        var parts = Resampling(columns: 2)
        for first in stride(from: 0, to: queries, by: 700) {
            parts.add((first..<min(first + 700, queries)).flatMap { [1, Float($0 % 7)] })
        }
        #expect(parts.sums == all.sums && parts.drawn == all.drawn)
    }

    @Test func `differences are paired`() {
        // Two systems that hit the same hundred of 400, and one hits twelve more.
        let sums = sums(
            (0..<400).map { [1, $0 % 4 == 0 ? 1 : 0, $0 % 4 == 0 || $0 % 33 == 1 ? 1 : 0] }
        )
        let (a, b) = (sums.ratio(1, of: 0), sums.ratio(2, of: 0))
        let difference = b.difference(from: a)
        #expect(difference.sign == 1 && difference.probability == 1)
        // Unpaired, the intervals overlap by far.
        #expect(b.estimate.low < a.estimate.value)
        let none = a.difference(from: a)
        #expect(none == Difference(value: 0, low: 0, high: 0, probability: 0.5))
        #expect(a.difference(from: b).sign == -1)
    }

    @Test func `a slice that a draw leaves empty does not spoil the interval`() {
        let sums = sums((0..<50).map { [$0 < 2 ? 1 : 0, $0 == 0 ? 1 : 0] })
        let rate = sums.ratio(1, of: 0)
        #expect(rate.replicates.contains { $0.isNaN })
        #expect(rate.estimate == Estimate(value: 0.5, low: 0, high: 1))
    }

    @Test func `the jackknife of a mean is its standard error`() {
        // Of twenty groups of one: the mean of the others.
        let values = (0..<20).map { Double($0 * $0 % 13) }
        let mean = values.reduce(0, +) / 20
        let left = values.map { (mean * 20 - $0) / 19 }
        let squares = values.reduce(0) { $0 + ($1 - mean) * ($1 - mean) }
        let error = (squares / 19 / 20).squareRoot()
        let estimate = Replicated(mean, left).estimate
        #expect(abs(estimate.high - (mean + 2.093 * error)) < 1e-9)
        let more = Replicated(mean + 1, left.map { $0 + 1 })
        let difference = more.difference(from: Replicated(mean, left))
        #expect(abs(difference.low - 1) < 1e-9 && difference.probability == 1)
    }

    @Test func `the verdict is drawn from the paired interval`() {
        var report = EvaluationReport()
        var popularity = EvaluationReport.System(name: "popularity")
        popularity.differences = [
            "a": Difference(value: 0.1, low: 0.01, high: 0.2, probability: 1),
            "b": Difference(value: 0.1, low: -0.01, high: 0.2, probability: 0.9),
            "c": Difference(value: -0.1, low: -0.2, high: -0.01, probability: 0),
        ]
        report.systems = [popularity]
        #expect(report.verdict("a", against: "popularity") == "better than popularity")
        #expect(
            report.verdict("b", against: "popularity") == "not distinguishable from popularity"
        )
        #expect(report.verdict("c", against: "popularity") == "worse than popularity")
        #expect(report.verdict("d", against: "popularity") == "not measured")
        #expect(report.verdict("a", against: "live") == "not measured")
    }
}
