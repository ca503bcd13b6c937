// SPDX-License-Identifier: Apache-2.0

/// The item vectors of the last batches, as they were then.
///
/// More negatives for nothing but their products: Wang et al. 2020, "Cross-Batch Negative Sampling".
@safe final class NegativeQueue {
    let capacity: Int
    let columns: Int
    /// Where a device learns, as of the last time that it told.
    var vectors: [Float] = []
    /// The item of each, the oldest first.
    private var items: [Int32] = []
    /// What is added to the logits of each.
    private var biases: [Float] = []

    init(capacity: Int, columns: Int) {
        self.capacity = capacity
        self.columns = columns
    }

    /// Adds its columns, which begin at `first`; copies of a query's own item are none.
    func add(to targets: inout ContrastiveLoss.Targets, items batch: [Int32], first: Int) {
        targets.bias += biases
        var places: [Int32: [Int32]] = [:]
        for (place, item) in items.enumerated() {
            places[item, default: []].append(Int32(first + place))
        }
        for (query, item) in batch.enumerated() {
            for candidate in places[item] ?? [] {
                targets.copies.append(
                    ContrastiveLoss.Copy(query: Int32(query), candidate: candidate)
                )
            }
        }
    }

    /// The rows of this batch, then its own.
    func join(_ own: RowBuffer, into joined: RowBuffer) {
        joined.resize(rows: own.rows + items.count)
        unsafe joined.start.update(from: own.start, count: own.count)
        for (place, value) in vectors.enumerated() {
            unsafe joined.start[own.count + place] = value
        }
    }

    var isKept: Bool { capacity > 0 }

    /// Takes the vectors of a batch, and lets the oldest go.
    ///
    /// `biases`: as those of one copy of each.
    func push(_ own: [Float], _ batch: [Int32], biases: [Float]) {
        let change = change(by: batch.count)
        vectors.removeFirst(change.gone * columns)
        vectors += own.suffix(change.kept * columns)
        push(batch, biases: biases)
    }

    /// Without vectors, which a device has.
    func push(_ batch: [Int32], biases batchBiases: [Float]) {
        let change = change(by: batch.count)
        items.removeFirst(change.gone)
        biases.removeFirst(change.gone)
        items += batch.suffix(change.kept)
        biases += batchBiases.suffix(change.kept)
    }

    /// How many of the oldest go for a batch, and how many of its last ones stay.
    func change(by count: Int) -> (gone: Int, kept: Int) {
        let surplus = max(0, items.count + count - capacity)
        return (min(surplus, items.count), min(count, capacity))
    }

    var tensors: [String: Tensor] {
        capacity == 0
            ? [:]
            : [
                "queue": .float32(vectors, shape: [items.count, columns]),
                "queue_items": .int32(items, shape: [items.count]),
                "queue_biases": .float32(biases, shape: [biases.count]),
            ]
    }

    func restore(from file: TensorFile) throws(PredictorError) {
        guard capacity > 0 else { return }
        vectors = try file.float32("memory.queue")
        items = try file.int32("memory.queue_items")
        biases = try file.float32("memory.queue_biases")
    }
}
