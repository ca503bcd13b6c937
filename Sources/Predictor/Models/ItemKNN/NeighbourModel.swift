// SPDX-License-Identifier: Apache-2.0

/// Items and those that are like them: a score is a sum of similarities.
package struct NeighbourModel: Recommender {
    package let kind = ItemKNN.kind
    package let items: [Int32]
    package let rows: [Int32]
    /// items + 1 entries; the neighbours of row r are those from `[r]` up to `[r + 1]`.
    let offsets: [Int64]
    let neighbours: [Int32]
    let similarities: [Float]

    init(_ neighbours: [[Neighbour]], items: [Int32], itemCount: Int) {
        self.items = items
        rows = Self.rows(of: items, itemCount: itemCount)
        var offsets: [Int64] = [0]
        for row in neighbours { offsets.append((offsets.last ?? 0) + Int64(row.count)) }
        self.offsets = offsets
        self.neighbours = neighbours.flatMap { $0.map(\.row) }
        similarities = neighbours.flatMap { $0.map(\.similarity) }
    }

    package func searcher(on gpu: GPU?) -> any Searcher { NeighbourSearcher(self) }

    package func write(to folder: String) throws(PredictorError) {
        try SafeTensors.write(
            [
                "items": .int32(items, shape: [items.count]),
                "offsets": .int64(offsets, shape: [offsets.count]),
                "neighbours": .int32(neighbours, shape: [neighbours.count]),
                "similarities": .float32(similarities, shape: [similarities.count]),
            ],
            to: folder + "/" + Self.file
        )
    }

    init(from file: TensorFile, itemCount: Int) throws(PredictorError) {
        items = try file.int32("items")
        offsets = try file.int64("offsets")
        neighbours = try file.int32("neighbours")
        similarities = try file.float32("similarities")
        let count = items.count
        guard offsets.count == count + 1, offsets.first == 0,
            offsets.last == Int64(neighbours.count), similarities.count == neighbours.count,
            zip(offsets, offsets.dropFirst()).allSatisfy({ $0 <= $1 }),
            neighbours.allSatisfy({ $0 >= 0 && $0 < count }),
            items.allSatisfy({ $0 >= 0 && $0 < itemCount })
        else { throw .file("the model", "has columns that do not fit each other") }
        rows = Self.rows(of: items, itemCount: itemCount)
    }
}

/// Adds up similarities, query by query.
struct NeighbourSearcher: Searcher {
    private let model: NeighbourModel

    init(_ model: NeighbourModel) { self.model = model }

    func lists(
        _ queries: [Query],
        hidden: [[Int32]],
        k: Int,
        progress: (Double) throws -> Void
    ) throws -> [RankedList?] {
        var scores = [Float](repeating: 0, count: model.items.count)
        var lists: [RankedList?] = []
        for (place, query) in queries.enumerated() {
            if place % 256 == 0 { try progress(Double(place) / Double(queries.count)) }
            lists.append(list(query, hidden[place], k, &scores))
        }
        try progress(1)
        return lists
    }

    /// Scores are zeros, before and after.
    private func list(
        _ query: Query,
        _ hidden: [Int32],
        _ k: Int,
        _ scores: inout [Float]
    ) -> RankedList? {
        let had = Set(query.history.lazy.map { model.rows[Int($0)] }.filter { $0 >= 0 }).sorted()
        guard !had.isEmpty else { return nil }
        var met: [Int32] = []
        for row in had {
            for place in Int(model.offsets[Int(row)])..<Int(model.offsets[Int(row) + 1]) {
                let other = Int(model.neighbours[place])
                if scores[other] == 0 { met.append(Int32(other)) }
                scores[other] += model.similarities[place]
            }
        }
        // Known, but like nothing else.
        guard !met.isEmpty else { return nil }
        let without = Set(hidden.lazy.map { model.rows[Int($0)] })
        var found: [Neighbour] = []
        for row in met {
            if !without.contains(row) {
                found.append(Neighbour(row: row, similarity: scores[Int(row)]))
            }
            scores[Int(row)] = 0
        }
        found.sort()
        let best = found.prefix(k)
        return RankedList(
            items: best.map { model.items[Int($0.row)] },
            scores: best.map(\.similarity),
            isCold: false
        )
    }
}
