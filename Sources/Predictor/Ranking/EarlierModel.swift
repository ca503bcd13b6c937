// SPDX-License-Identifier: Apache-2.0
private import Tables

/// A model of an earlier dataset of the same feed, asked for lists on a later one.
///
/// A vocabulary only grows, so that the ids it knew still have their indices; what it cannot know is
/// left out of queries, and users that came later are unknown to it. Features of events that are not
/// in its dataset are not read.
package struct EarlierModel: Recommender {
    private let model: any Recommender
    private let rank: RankStage?
    private let users: Int
    private let itemCount: Int
    package let rows: [Int32]

    /// Nil where the later dataset does not go on from the earlier one's ids.
    package init?(
        _ model: any Recommender,
        rank: RankStage? = nil,
        of earlier: Dataset,
        on later: Dataset
    ) {
        guard later.users.starts(with: earlier.users), later.items.starts(with: earlier.items)
        else { return nil }
        self.model = model
        self.rank = rank
        users = earlier.users.count
        itemCount = earlier.items.count
        rows =
            model.rows
            + [Int32](repeating: -1, count: later.items.count - earlier.items.count)
    }

    package var kind: String { model.kind }
    package var items: [Int32] { model.items }
    package var itemVectors: Matrix? { model.itemVectors }

    package func searcher(on gpu: GPU?) throws(PredictorError) -> any Searcher {
        wrapped(try model.searcher(on: gpu))
    }

    private func wrapped(_ searcher: some Searcher) -> any Searcher {
        EarlierSearcher(searcher: searcher, rank: rank, users: users, itemCount: itemCount)
    }

    package func write(to folder: String) throws(PredictorError) { try model.write(to: folder) }
}

/// Asks for what was there when the model was trained.
private struct EarlierSearcher<Base: Searcher>: Searcher {
    let searcher: Base
    let rank: RankStage?
    let users: Int
    let itemCount: Int

    private func known(_ queries: [Query]) -> [Query] {
        queries.map { query in
            Query(
                user: query.user.flatMap { $0 < users ? $0 : nil },
                history: query.history.filter { $0 < itemCount }
            )
        }
    }

    func lists(
        _ queries: [Query],
        hidden: [[Int32]],
        k: Int,
        progress: (Double) throws -> Void
    ) throws -> [RankedList?] {
        let hidden = hidden.map { $0.filter { $0 < itemCount } }
        guard let rank else {
            return try searcher.lists(known(queries), hidden: hidden, k: k, progress: progress)
        }
        return try rank.lists(
            from: searcher,
            known(queries),
            hidden: hidden,
            k: k,
            progress: progress
        )
    }
}

extension EarlierSearcher: VectorQuerying where Base: VectorQuerying {
    func vectors(_ queries: [Query]) throws -> [[Float]?] { try searcher.vectors(known(queries)) }
}

extension Vocabulary {
    /// Whether these ids begin with those of another, in the same order.
    fileprivate func starts(with other: Vocabulary) -> Bool {
        count >= other.count && (0..<other.count).allSatisfy { self[$0] == other[$0] }
    }
}
