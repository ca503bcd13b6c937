// SPDX-License-Identifier: Apache-2.0
import Testing

@testable import Predictor

struct TopKTests {
    /// The plain twin: every score, sorted by score and then by row.
    private func reference(
        _ queries: Matrix,
        _ items: Matrix,
        k: Int,
        excluded: [[Int32]]?
    ) -> [[Int32]] {
        (0..<queries.rows).map { q in
            let banned = Set(excluded?[q] ?? [])
            let scores = (0..<items.rows).map { row in
                var score: Float = 0
                for (a, b) in zip(queries[row: q], items[row: row]) { score += a * b }
                return score
            }
            let allowed = scores.indices.filter { !banned.contains(Int32($0)) }
            let sorted = allowed.sorted {
                scores[$0] != scores[$1] ? scores[$0] > scores[$1] : $0 < $1
            }
            return sorted.prefix(k).map { Int32($0) }
        }
    }

    /// Small integers: every product is exact, so that ties are real and order is strict.
    private func integers(_ rows: Int, _ columns: Int, _ generator: inout SeededGenerator) -> Matrix
    {
        Matrix(
            rows: rows,
            columns: columns,
            values: (0..<rows * columns).map { _ in Float(generator.index(below: 7)) - 3 }
        )
    }

    @Test(arguments: [
        (1, 1, 1, 1), (3, 5, 2, 10), (300, 1100, 8, 10), (257, 2049, 3, 50), (2, 3000, 4, 3000),
    ])
    func `lists are those of a full sort, ties by row`(_ n: Int, _ m: Int, _ d: Int, _ k: Int)
        throws
    {
        var generator = SeededGenerator(seed: n + m)
        let queries = integers(n, d, &generator)
        let items = integers(m, d, &generator)
        let excluded = (0..<n).map { _ in
            (0..<Int32(m)).filter { _ in generator.index(below: 4) == 0 }
        }
        for mask in [nil, excluded] {
            let found = try TopK.search(queries: queries, items: items, k: k, excluded: mask)
            let expected = reference(queries, items, k: k, excluded: mask)
            #expect((0..<n).map { Array(found.list($0)) } == expected)
        }
    }

    @Test func `a k beyond the catalogue gives shorter lists`() throws {
        let items = Matrix(rows: 3, columns: 1, values: [1, 3, 2])
        let query = Matrix(rows: 1, columns: 1, values: [1])
        let found = try TopK.search(queries: query, items: items, k: 10, excluded: [[1]])
        #expect(Array(found.list(0)) == [2, 0])
    }

    @Test func `it stops when told to`() {
        struct Stop: Error {}
        let matrix = Matrix(rows: 600, columns: 1, values: [Float](repeating: 1, count: 600))
        #expect(throws: Stop.self) {
            _ = try TopK.search(queries: matrix, items: matrix, k: 1) { _ in throw Stop() }
        }
    }
}

struct ListScoreTests {
    @Test func `metrics are those of the definitions`() {
        let score = ListScore([5, 1, 9, 2], truth: [9, 2, 7], k: 3)
        #expect(score.hitRate == 1)
        #expect(score.recall == 1.0 / 3)
        #expect(score.mrr == 1.0 / 3)
        // One hit at rank 3, three were possible at ranks 1, 2 and 3.
        #expect(abs(score.ndcg - 0.5 / (1 + 0.6309297535714575 + 0.5)) < 1e-12)
        let perfect = ListScore([1, 2], truth: [1, 2], k: 10)
        #expect(perfect.ndcg == 1 && perfect.recall == 1 && perfect.mrr == 1)
        let miss = ListScore([1, 2], truth: [3], k: 10)
        #expect(miss.hitRate == 0 && miss.recall == 0 && miss.ndcg == 0 && miss.mrr == 0)
    }

    @Test func `the bootstrap interval holds the mean and is as wide as the normal one`() {
        // 400 coins, 100 heads: the standard error is 0.0217.
        let values = (0..<400).map { [$0 % 4 == 0 ? 1.0 : 0.0, 0.5] }
        let estimates = Bootstrap.means(values)
        #expect(estimates[0].value == 0.25)
        #expect(abs(estimates[0].low - 0.2075) < 0.01)
        #expect(abs(estimates[0].high - 0.2925) < 0.01)
        #expect(estimates[1] == Estimate(value: 0.5, low: 0.5, high: 0.5))
        #expect(Bootstrap.means([]).isEmpty)
    }

    @Test func `the verdict is drawn from the paired interval`() {
        var report = EvaluationReport()
        report.difference = [
            "a": Estimate(value: 0.1, low: 0.01, high: 0.2),
            "b": Estimate(value: 0.1, low: -0.01, high: 0.2),
            "c": Estimate(value: -0.1, low: -0.2, high: -0.01),
        ]
        #expect(report.verdict("a") == "better than popularity")
        #expect(report.verdict("b") == "not distinguishable from popularity")
        #expect(report.verdict("c") == "worse than popularity")
        #expect(report.verdict("d") == "not measured")
    }
}
