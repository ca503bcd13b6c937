// SPDX-License-Identifier: Apache-2.0

/// The k best items of each query; shorter lists end early.
package struct TopKLists: Sendable, Equatable {
    package let k: Int
    /// How many entries of each list are filled.
    package internal(set) var counts: [Int]
    /// queries × k, best first.
    package internal(set) var rows: [Int32]
    /// queries × k.
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

    /// The best of several searches through different items, whose lists are one behind the other.
    func merged(_ parts: Int) -> TopKLists {
        guard parts > 1 else { return self }
        var lists = TopKLists(queries: counts.count / parts, k: k)
        for query in lists.counts.indices {
            var hits: [(score: Float, row: Int32)] = []
            for list in stride(from: query, to: counts.count, by: lists.counts.count) {
                for place in list * k..<list * k + counts[list] {
                    hits.append((scores[place], rows[place]))
                }
            }
            hits.sort { $0.score != $1.score ? $0.score > $1.score : $0.row < $1.row }
            lists.counts[query] = min(k, hits.count)
            for (place, hit) in hits.prefix(k).enumerated() {
                lists.scores[query * k + place] = hit.score
                lists.rows[query * k + place] = hit.row
            }
        }
        return lists
    }

    /// Lets several threads write different queries.
    @safe struct Writer: @unchecked Sendable {
        let k: Int
        let counts: UnsafeMutablePointer<Int>
        let rows: UnsafeMutablePointer<Int32>
        let scores: UnsafeMutablePointer<Float>
    }

    mutating func withWriter<T>(_ body: (Writer) throws -> T) rethrows -> T {
        try unsafe counts.withUnsafeMutableBufferPointer { counts in
            try unsafe rows.withUnsafeMutableBufferPointer { rows in
                try unsafe scores.withUnsafeMutableBufferPointer { scores in
                    guard let counts = counts.baseAddress, let rows = rows.baseAddress,
                        let scores = scores.baseAddress
                    else { preconditionFailure("lists of no queries have no writer") }
                    return try unsafe body(
                        Writer(k: k, counts: counts, rows: rows, scores: scores)
                    )
                }
            }
        }
    }
}
