// SPDX-License-Identifier: Apache-2.0
private import Glibc

/// What one list is worth against the items that really came.
///
/// Hit rate: 1 if any of them is in the list. Recall: the share of them that is, with at most k
/// to find. NDCG: each hit at rank r counts 1 / log2(r + 1), over the best that was possible.
/// MRR: 1 / rank of the first hit.
struct ListScore {
    var hitRate = 0.0
    var recall = 0.0
    var ndcg = 0.0
    var mrr = 0.0

    init(_ list: some Sequence<Int32>, truth: Set<Int32>, k: Int) {
        guard !truth.isEmpty else { return }
        var hits = 0
        for (place, item) in list.prefix(k).enumerated() where truth.contains(item) {
            hits += 1
            ndcg += 1 / log2(Double(place) + 2)
            if mrr == 0 { mrr = 1 / Double(place + 1) }
        }
        let possible = min(truth.count, k)
        hitRate = hits > 0 ? 1 : 0
        recall = Double(hits) / Double(possible)
        ndcg /= (0..<possible).reduce(0) { $0 + 1 / log2(Double($1) + 2) }
    }
}

/// A mean with the interval that holds it with 95 % confidence.
package struct Estimate: Sendable, Codable, Equatable {
    package let value: Double
    package let low: Double
    package let high: Double
}

/// Percentile bootstrap (Efron 1979): queries are drawn with replacement, all metrics from the
/// same draws, so that differences between two models are paired.
enum Bootstrap {
    /// The mean of each metric over the queries; `values` holds one row of metrics a query.
    static func means(_ values: [[Double]], resamples: Int = 1000, seed: Int = 1) -> [Estimate] {
        guard let width = values.first?.count else { return [] }
        // Most queries of a large evaluation are misses of both models: rows of zeros. They are
        // drawn like any other, but there is nothing of theirs to add up.
        let rows = values.filter { row in row.contains { $0 != 0 } }
        let flat = rows.flatMap { $0 }
        var generator = SeededGenerator(seed: seed)
        var means = (0..<width).map { _ in [Double]() }
        var sums = [Double](repeating: 0, count: width)
        for _ in 0..<resamples {
            for metric in 0..<width { sums[metric] = 0 }
            var target = sums.mutableSpan
            let source = flat.span
            for _ in 0..<values.count {
                let row = generator.index(below: values.count)
                guard row < rows.count else { continue }
                for metric in 0..<width { target[metric] += source[row * width + metric] }
            }
            for metric in 0..<width { means[metric].append(sums[metric] / Double(values.count)) }
        }
        return (0..<width).map { metric in
            let sorted = means[metric].sorted()
            return Estimate(
                value: values.reduce(0) { $0 + $1[metric] } / Double(values.count),
                low: sorted[Int(0.025 * Double(resamples))],
                high: sorted[Int(0.975 * Double(resamples))]
            )
        }
    }
}
