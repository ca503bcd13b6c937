// SPDX-License-Identifier: Apache-2.0
private import Executors
private import Synchronization
private import Tables

/// Which items are had by the same users, by cosine with shrinkage.
///
/// Sarwar et al. 2001:
/// similarity(i, j) = n(i, j) / (√(n(i) · n(j)) + shrinkage), where n counts users. Kept are each
/// item's nearest; a score is the sum of the similarities to what was had, each item once.
package enum ItemKNN {
    package static let kind = "item-knn"

    package static func train(
        _ dataset: Dataset,
        on parts: Set<Part>,
        _ settings: ItemKNNSettings,
        progress: (Double) throws -> Void = { _ in }
    ) throws -> NeighbourModel {
        let weights = dataset.itemWeights(in: parts)
        let items = weights.indices.filter { weights[$0] > 0 }
        guard !items.isEmpty else { throw PredictorError.input("no event to train on") }
        let byUser = Ratings(dataset, on: parts, items)
        let byItem = byUser.transposed(rows: items.count)
        let found = Mutex([[Neighbour]](repeating: [], count: items.count))
        // In pieces, so that progress is told and a stop is heard.
        let piece = 256
        for first in stride(from: 0, to: items.count, by: piece) {
            try progress(Double(first) / Double(items.count))
            let some = first..<min(first + piece, items.count)
            parallelFor(some.count, threads: settings.threads) { range, _ in
                var counts = [Int32](repeating: 0, count: items.count)
                for row in range {
                    let nearest = nearest(first + row, byUser, byItem, settings, &counts)
                    found.withLock { $0[first + row] = nearest }
                }
            }
        }
        try progress(1)
        return NeighbourModel(
            found.withLock { $0 },
            items: items.map { Int32($0) },
            itemCount: dataset.items.count
        )
    }

    /// Counts are zeros, before and after.
    private static func nearest(
        _ row: Int,
        _ byUser: Ratings,
        _ byItem: Ratings,
        _ settings: ItemKNNSettings,
        _ counts: inout [Int32]
    ) -> [Neighbour] {
        var met: [Int32] = []
        for user in byItem.entries(row) {
            for other in byUser.entries(Int(user.column)) {
                if counts[Int(other.column)] == 0 { met.append(other.column) }
                counts[Int(other.column)] += 1
            }
        }
        let own = Double(byItem.entries(row).count)
        var neighbours: [Neighbour] = []
        for other in met {
            let both = Double(counts[Int(other)])
            counts[Int(other)] = 0
            if Int(other) == row { continue }
            let theirs = Double(byItem.entries(Int(other)).count)
            let similarity = both / ((own * theirs).squareRoot() + settings.shrinkage)
            neighbours.append(Neighbour(row: other, similarity: Float(similarity)))
        }
        neighbours.sort()
        return Array(neighbours.prefix(settings.neighbours))
    }
}

/// By the names that the field uses.
package struct ItemKNNSettings: Sendable, Codable, Equatable {
    /// Nearest items that are kept of each.
    package var neighbours = 100
    /// Draws similarities that few users speak for towards nothing.
    package var shrinkage = 0.0
    /// The model is the same with any number.
    package var threads = 1

    package init() {}
}

/// An item that is like another, by its row.
struct Neighbour: Sendable, Comparable {
    let row: Int32
    let similarity: Float

    /// Nearer first; of two that are as near, the one with the lower row.
    static func < (a: Neighbour, b: Neighbour) -> Bool {
        (b.similarity, a.row) < (a.similarity, b.row)
    }
}
