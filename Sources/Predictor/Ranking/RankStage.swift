// SPDX-License-Identifier: Apache-2.0

/// Orders the best that a model found once more, by how likely they are liked.
package struct RankStage: Sendable {
    /// Queries whose candidates are in memory, and those that are scored, at a time.
    private static let searched = 4096
    private static let scored = 64

    package let model: RatingModel
    private let candidates: Int

    package init(_ model: RatingModel, candidates: Int) {
        self.model = model
        self.candidates = candidates
    }

    /// As the searcher's, in the new order; of two that are as likely, the one it found better.
    ///
    /// Who is no user of the dataset keeps the searcher's order.
    func lists(
        from searcher: any Searcher,
        _ queries: [Query],
        hidden: [[Int32]],
        k: Int,
        progress: (Double) throws -> Void
    ) throws -> [RankedList?] {
        var lists: [RankedList?] = []
        for first in stride(from: 0, to: queries.count, by: Self.searched) {
            let range = first..<min(first + Self.searched, queries.count)
            lists += try ordered(searcher, Array(queries[range]), Array(hidden[range]), k) {
                try progress((Double(first) + $0 * Double(range.count)) / Double(queries.count))
            }
        }
        return lists
    }

    private func ordered(
        _ searcher: any Searcher,
        _ queries: [Query],
        _ hidden: [[Int32]],
        _ k: Int,
        _ progress: (Double) throws -> Void
    ) throws -> [RankedList?] {
        var lists = try searcher.lists(queries, hidden: hidden, k: max(k, candidates)) {
            try progress($0 / 2)
        }
        let known = queries.indices.filter { queries[$0].user != nil && lists[$0] != nil }
        for first in stride(from: 0, to: known.count, by: Self.scored) {
            try progress(0.5 + 0.5 * Double(first) / Double(known.count))
            let some = known[first..<min(first + Self.scored, known.count)]
            let scores = model.probabilities(
                some.map { (user: queries[$0].user ?? 0, items: lists[$0]?.items ?? []) }
            )
            for (place, scores) in zip(some, scores) { lists[place]?.order(by: scores) }
        }
        for place in lists.indices { lists[place]?.cut(to: k) }
        return lists
    }
}

extension RankedList {
    fileprivate mutating func order(by scores: [Float]) {
        let order = scores.indices.sorted { (scores[$1], $0) < (scores[$0], $1) }
        items = order.map { items[$0] }
        self.scores = order.map { scores[$0] }
    }

    fileprivate mutating func cut(to k: Int) {
        items.removeLast(max(0, items.count - k))
        scores.removeLast(max(0, scores.count - k))
    }
}
