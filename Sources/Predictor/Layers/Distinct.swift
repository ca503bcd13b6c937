// SPDX-License-Identifier: Apache-2.0
private import CKernels
private import Executors

/// The different ones of a batch's users or items: what depends on one alone is worked out once.
@safe final class Distinct: @unchecked Sendable {
    /// Each once, in the order in which the batch meets them.
    private(set) var entities: [Int32] = []
    /// Of each example, the place among them.
    private(set) var slots: [Int32] = []
    /// The place of each entity there is, -1 if it is not in the batch.
    private var place: [Int32]
    let uses: RowUses

    init(count: Int) {
        place = [Int32](repeating: -1, count: count)
        uses = RowUses(count: count)
    }

    func use(_ batch: [Int32]) {
        for entity in entities { place[Int(entity)] = -1 }
        entities.removeAll(keepingCapacity: true)
        slots.removeAll(keepingCapacity: true)
        for entity in batch {
            if place[Int(entity)] < 0 {
                place[Int(entity)] = Int32(entities.count)
                entities.append(entity)
            }
            slots.append(place[Int(entity)])
        }
        uses.use(slots)
    }

    /// to[slot] = Σ from[example] over the examples of each slot; from: examples × columns.
    func sum(_ from: RowBuffer, into to: RowBuffer, threads: Int) {
        to.resize(rows: entities.count)
        parallelFor(entities.count, threads: threads, grain: 64) { slots, _ in
            unsafe uses.withKernel { kernel in
                unsafe larder_gather_sums(
                    kernel,
                    slots.lowerBound,
                    slots.upperBound,
                    from.start,
                    from.columns,
                    to.start
                )
            }
        }
    }
}
