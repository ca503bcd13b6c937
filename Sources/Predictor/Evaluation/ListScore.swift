// SPDX-License-Identifier: Apache-2.0
private import Glibc

/// What the first k of a list are worth against the items that really came.
///
/// As trec_eval and ranx have them, with relevance of yes or no. Hit rate: 1 if any of them is in
/// the list. Recall: the share of them that is. Precision: the share of k that came. NDCG: each hit
/// at rank r counts 1 / log2(r + 1), over the best that was possible. MRR: 1 / rank of the first hit.
/// MAP: the mean, over all that came, of the precision at each hit's rank.
struct ListScore: Equatable {
    var hitRate = 0.0
    var recall = 0.0
    var precision = 0.0
    var ndcg = 0.0
    var mrr = 0.0
    var map = 0.0

    init(_ list: some Sequence<Int32>, truth: Set<Int32>, k: Int) {
        guard !truth.isEmpty else { return }
        var hits = 0
        for (place, item) in list.prefix(k).enumerated() where truth.contains(item) {
            hits += 1
            ndcg += 1 / log2(Double(place) + 2)
            map += Double(hits) / Double(place + 1)
            if mrr == 0 { mrr = 1 / Double(place + 1) }
        }
        hitRate = hits > 0 ? 1 : 0
        recall = Double(hits) / Double(truth.count)
        precision = Double(hits) / Double(k)
        map /= Double(truth.count)
        ndcg /= (0..<min(truth.count, k)).reduce(0) { $0 + 1 / log2(Double($1) + 2) }
    }

    /// By the names that metrics have.
    static let metrics: [(name: String, value: @Sendable (ListScore) -> Double)] = [
        ("hit-rate", { $0.hitRate }), ("recall", { $0.recall }), ("precision", { $0.precision }),
        ("ndcg", { $0.ndcg }), ("mrr", { $0.mrr }), ("map", { $0.map }),
    ]
}
