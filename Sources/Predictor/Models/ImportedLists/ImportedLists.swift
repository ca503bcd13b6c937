// SPDX-License-Identifier: Apache-2.0
private import Tables

/// Lists that somebody else's model made: the rows of a table, a user's own in a list each.
package enum ImportedLists {
    package static let kind = "lists"

    /// Lists of all users of a dataset; an item stands in a list once, at its best place.
    ///
    /// `score`: the number of events that lists are ordered by, the highest first; nil: as the rows
    /// stood in their source.
    package static func read(
        _ dataset: Dataset,
        score: String?
    ) throws(PredictorError) -> ImportedListModel {
        let scores = try score.map { name throws(PredictorError) in try numbers(name, dataset) }
        var offsets: [Int64] = [0]
        var items: [Int32] = []
        var kept: [Float] = []
        var met = Set<Int32>()
        for user in 0..<dataset.users.count {
            var events = Array(dataset.events(ofUser: user))
            if let scores {
                events.removeAll { !scores[$0].isFinite }
                events.sort { (scores[$1], $0) < (scores[$0], $1) }
            }
            met.removeAll(keepingCapacity: true)
            for event in events where met.insert(dataset.eventItems[event]).inserted {
                items.append(dataset.eventItems[event])
                if let scores { kept.append(scores[event]) }
            }
            offsets.append(Int64(items.count))
        }
        return ImportedListModel(
            offsets: offsets,
            listed: items,
            scores: kept,
            itemCount: dataset.items.count
        )
    }

    private static func numbers(
        _ name: String,
        _ dataset: Dataset
    ) throws(PredictorError) -> Column<Float> {
        let column = dataset.schema.columns.first { $0.name == name && $0.entity == .events }
        guard let column, case .numbers(let values) = try dataset.values(of: column) else {
            throw .input("events have no number \"\(name)\" to order lists by", hint: nil)
        }
        return values
    }
}

package struct ImportedListModel: Recommender {
    package let kind = ImportedLists.kind
    /// For those who have no list: what stands in most lists of at most k.
    package func popular(k: Int) -> RetrievalModel {
        var counts = [Double](repeating: 0, count: rows.count)
        for (start, end) in zip(offsets, offsets.dropFirst()) {
            for item in listed[Int(start)..<Int(end)].prefix(k) { counts[Int(item)] += 1 }
        }
        return Popularity.model(counts)
    }

    package let items: [Int32]
    package let rows: [Int32]
    /// users + 1 entries; the list of user u is what stands from `[u]` up to `[u + 1]`.
    fileprivate let offsets: [Int64]
    fileprivate let listed: [Int32]
    /// One each, or none at all.
    fileprivate let scores: [Float]

    fileprivate init(offsets: [Int64], listed: [Int32], scores: [Float], itemCount: Int) {
        (self.offsets, self.listed, self.scores) = (offsets, listed, scores)
        var isListed = [Bool](repeating: false, count: itemCount)
        for item in listed { isListed[Int(item)] = true }
        items = isListed.indices.filter { isListed[$0] }.map { Int32($0) }
        rows = Self.rows(of: items, itemCount: itemCount)
    }

    package func searcher(on gpu: GPU?) -> any Searcher { ImportedListSearcher(model: self) }

    package func write(to folder: String) throws(PredictorError) {
        try SafeTensors.write(
            [
                "offsets": .int64(offsets, shape: [offsets.count]),
                "listed": .int32(listed, shape: [listed.count]),
                "scores": .float32(scores, shape: [scores.count]),
            ],
            to: folder + "/" + Self.file
        )
    }

    init(from file: TensorFile, itemCount: Int) throws(PredictorError) {
        let offsets = try file.int64("offsets")
        let listed = try file.int32("listed")
        let scores = try file.float32("scores")
        guard offsets.first == 0, offsets.last == Int64(listed.count),
            scores.isEmpty || scores.count == listed.count,
            zip(offsets, offsets.dropFirst()).allSatisfy({ $0 <= $1 }),
            listed.allSatisfy({ $0 >= 0 && $0 < itemCount })
        else { throw .file("the model", "has columns that do not fit each other") }
        self.init(offsets: offsets, listed: listed, scores: scores, itemCount: itemCount)
    }
}

/// Hands the lists out, without what is hidden.
private struct ImportedListSearcher: Searcher {
    let model: ImportedListModel

    func lists(
        _ queries: [Query],
        hidden: [[Int32]],
        k: Int,
        progress: (Double) throws -> Void
    ) throws -> [RankedList?] {
        let lists = zip(queries, hidden).map { query, hidden in list(query, Set(hidden), k) }
        try progress(1)
        return lists
    }

    /// Nil of those who are no users, or have no list.
    private func list(_ query: Query, _ hidden: Set<Int32>, _ k: Int) -> RankedList? {
        guard let user = query.user.map({ Int($0) }), user + 1 < model.offsets.count else {
            return nil
        }
        let range = Int(model.offsets[user])..<Int(model.offsets[user + 1])
        guard !range.isEmpty else { return nil }
        let places = range.lazy.filter { !hidden.contains(model.listed[$0]) }.prefix(k)
        return RankedList(
            items: places.map { model.listed[$0] },
            scores: model.scores.isEmpty
                ? [Float](repeating: 0, count: places.count) : places.map { model.scores[$0] },
            isCold: false
        )
    }
}
