// SPDX-License-Identifier: Apache-2.0
private import CKernels
private import COpenBLAS

/// The k best items of each query; shorter lists end early.
package struct TopKLists: Sendable {
    package let k: Int
    /// How many entries of each list are filled.
    package internal(set) var counts: [Int]
    /// queries × k, best first.
    package internal(set) var rows: [Int32]
    /// queries × k; inner products.
    package internal(set) var scores: [Float]

    init(queries: Int, k: Int) {
        self.k = k
        counts = [Int](repeating: 0, count: queries)
        rows = [Int32](repeating: -1, count: queries * k)
        scores = [Float](repeating: -.infinity, count: queries * k)
    }

    package func list(_ query: Int) -> ArraySlice<Int32> {
        rows[query * k..<query * k + counts[query]]
    }
}

/// Exact top-k by inner product, tile by tile: memory is bounded by one tile of scores, whatever
/// the number of queries and items.
package enum TopK {
    // 256 × 1,024 scores are 1 MiB: they stay in the L2 cache between product and scan.
    private static let queryTile = 256
    private static let itemTile = 1024

    /// Finds, for each of n queries (n × d), the best of m items (m × d).
    ///
    /// `excluded` holds for each query the rows of `items` that must not be in its list, ascending.
    /// Equal scores are in the order of their rows. `progress` is called after each tile with the
    /// share of queries done, and may throw to stop.
    package static func search(
        queries: Matrix,
        items: Matrix,
        k: Int,
        excluded: [[Int32]]? = nil,
        progress: (Double) throws -> Void = { _ in }
    ) throws -> TopKLists {
        precondition(queries.columns == items.columns, "queries and items need one width")
        precondition(excluded == nil || excluded?.count == queries.rows)
        var lists = TopKLists(queries: queries.rows, k: k)
        var scores = [Float](repeating: 0, count: queryTile * itemTile)
        var found = [UInt32](repeating: 0, count: itemTile)
        for start in stride(from: 0, to: queries.rows, by: queryTile) {
            let tile = start..<min(start + queryTile, queries.rows)
            var best = tile.map { _ in Best(k: k) }
            var nextExcluded = [Int](repeating: 0, count: tile.count)
            for first in stride(from: 0, to: items.rows, by: itemTile) {
                let width = min(itemTile, items.rows - first)
                multiply(queries, tile, items, first, width, into: &scores)
                for (place, query) in tile.enumerated() {
                    let row = place * width
                    if let excluded {
                        let list = excluded[query]
                        while nextExcluded[place] < list.count,
                            list[nextExcluded[place]] < first + width
                        {
                            scores[row + Int(list[nextExcluded[place]]) - first] = -.infinity
                            nextExcluded[place] += 1
                        }
                    }
                    let survivors = unsafe scores.withUnsafeBufferPointer { buffer in
                        unsafe larder_find_above(
                            buffer.baseAddress.map { unsafe $0 + row },
                            width,
                            best[place].threshold,
                            &found
                        )
                    }
                    for survivor in 0..<survivors {
                        let column = Int(found[survivor])
                        best[place].offer(scores[row + column], Int32(first + column))
                    }
                }
            }
            for (place, query) in tile.enumerated() { best[place].write(to: &lists, query) }
            try progress(Double(tile.upperBound) / Double(queries.rows))
        }
        return lists
    }

    /// scores = Q · Iᵀ for one tile, width floats a row.
    private static func multiply(
        _ queries: Matrix,
        _ tile: Range<Int>,
        _ items: Matrix,
        _ first: Int,
        _ width: Int,
        into scores: inout [Float]
    ) {
        let depth = queries.columns
        unsafe queries.values.withUnsafeBufferPointer { q in
            unsafe items.values.withUnsafeBufferPointer { i in
                unsafe cblas_sgemm(
                    CblasRowMajor,
                    CblasNoTrans,
                    CblasTrans,
                    Int32(tile.count),
                    Int32(width),
                    Int32(depth),
                    1,
                    q.baseAddress.map { unsafe $0 + tile.lowerBound * depth },
                    Int32(depth),
                    i.baseAddress.map { unsafe $0 + first * depth },
                    Int32(depth),
                    0,
                    &scores,
                    Int32(width)
                )
            }
        }
    }
}

/// The best of one query so far.
///
/// Survivors pile up to 2k + 64 and are then cut back to k: cheaper than a heap, because a tile's
/// survivors are few once the threshold is warm.
private struct Best {
    private let k: Int
    private var hits: [(score: Float, row: Int32)] = []
    /// The k-th best score; what is not above it cannot enter, because rows come in ascending
    /// order and a later row loses a tie.
    private(set) var threshold = -Float.infinity

    init(k: Int) { self.k = k }

    mutating func offer(_ score: Float, _ row: Int32) {
        guard score > threshold else { return }
        hits.append((score, row))
        if hits.count >= 2 * k + 64 { shrink() }
    }

    private mutating func shrink() {
        hits.sort { $0.score != $1.score ? $0.score > $1.score : $0.row < $1.row }
        if hits.count >= k, k > 0 {
            hits.removeLast(hits.count - k)
            threshold = hits[k - 1].score
        }
    }

    mutating func write(to lists: inout TopKLists, _ query: Int) {
        shrink()
        lists.counts[query] = min(k, hits.count)
        for (place, hit) in hits.prefix(k).enumerated() {
            lists.rows[query * lists.k + place] = hit.row
            lists.scores[query * lists.k + place] = hit.score
        }
    }
}
