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
struct Bootstrap {
    private let resamples: [[Int32]]
    private let count: Int

    /// How often each of `count` queries is drawn, in each resample.
    init(count: Int, resamples: Int = 1000, seed: Int = 1) {
        self.count = count
        var generator = SeededGenerator(seed: seed)
        self.resamples = (0..<(count > 0 ? resamples : 0)).map { _ in
            (0..<count).map { _ in Int32(generator.index(below: count)) }
        }
    }

    /// The mean of `values`, one a query.
    func mean(of values: [Double]) -> Estimate {
        precondition(values.count == count)
        guard count > 0 else { return Estimate(value: 0, low: 0, high: 0) }
        let means = resamples.map { draw in
            draw.reduce(0.0) { $0 + values[Int($1)] } / Double(count)
        }.sorted()
        return Estimate(
            value: values.reduce(0, +) / Double(count),
            low: means[Int(0.025 * Double(means.count))],
            high: means[Int(0.975 * Double(means.count))])
    }
}
