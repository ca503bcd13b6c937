// SPDX-License-Identifier: Apache-2.0
private import Dispatch
private import Tables

/// What training goes through, an example after the other: single events or whole sequences.
///
/// Examples are shuffled; more than 67 million of them by blocks: consecutive ones, which stand
/// together in the dataset's files, are put into blocks, the blocks of an epoch into a random order,
/// and the examples of sixteen blocks at a time among each other. So a dataset larger than memory is
/// read in pieces of a block instead of at random. Batches are made on a thread of their own while the caller computes.
package struct BatchLoader: Sendable {
    package enum Examples: Sendable {
        /// Events, by their index.
        case events([Int32])
        /// Sequences, by their index, each with at most its last so many events of some parts.
        case sequences([Int32], last: Int, of: Set<Part> = .all)

        package var count: Int { indices.count }

        fileprivate var indices: [Int32] {
            switch self {
            case .events(let indices), .sequences(let indices, _, _): indices
            }
        }
    }

    /// Examples of a block.
    package static let block = 1024
    /// Blocks whose examples are mixed.
    private static let mixed = 16
    /// Batches that are made ahead.
    private static let ahead = 4

    private let dataset: Dataset
    private let examples: Examples
    /// Of single events.
    private let users: EventUsers?
    private let features: [(column: Schema.Column, values: FeatureValues)]
    private let batchSize: Int
    private let seed: Int
    private let dropsLast: Bool
    private let isShuffled: Bool
    private let mixedWhole: Int

    /// Opens the columns of the dataset's schema that are to be in every batch.
    ///
    /// With `dropsLast` a last batch that is smaller than the others is left out. Up to `mixedWhole`
    /// examples, whose columns stay in memory all the time, are mixed as a whole.
    package init(
        _ dataset: Dataset,
        _ examples: Examples,
        columns: [Schema.Column] = [],
        batchSize: Int,
        seed: Int,
        isShuffled: Bool = true,
        dropsLast: Bool = false,
        mixedWhole: Int = 1 << 26
    ) throws(PredictorError) {
        self.dataset = dataset
        self.examples = examples
        users = if case .events = examples { EventUsers(dataset) } else { nil }
        self.batchSize = batchSize
        self.seed = seed
        self.isShuffled = isShuffled
        self.mixedWhole = mixedWhole
        self.dropsLast = dropsLast
        var features: [(Schema.Column, FeatureValues)] = []
        for column in columns where column.type != .id {
            features.append((column, try dataset.values(of: column)))
        }
        self.features = features
    }

    package var batchCount: Int {
        let count = examples.indices.count
        return dropsLast ? count / batchSize : (count + batchSize - 1) / batchSize
    }

    /// Calls `body` with each batch of an epoch, and the one behind it; it may keep nothing of a batch
    /// when it returns.
    ///
    /// An epoch's order depends on the seed and its number only, so that a training can go on from
    /// the middle of one: with batch number `first`. What `body` throws ends the epoch.
    package func forEachBatch(
        ofEpoch epoch: Int,
        from first: Int = 0,
        _ body: (_ batch: LoadedBatch, _ next: LoadedBatch?) throws -> Void
    ) throws {
        let order = order(ofEpoch: epoch)
        let queue = BatchQueue(capacity: Self.ahead) { LoadedBatch(features.map(\.column)) }
        let count = batchCount
        let maker = DispatchQueue(label: "larder.batches", qos: .userInitiated)
        let finished = DispatchSemaphore(value: 0)
        maker.async {
            for number in first..<count {
                guard let batch = queue.takeEmpty() else { break }
                let start = number * batchSize
                fill(batch, order[start..<min(start + batchSize, order.count)])
                queue.giveFull(batch)
            }
            finished.signal()
        }
        defer {
            queue.stop()
            finished.wait()
        }
        var next = first < count ? queue.takeFull() : nil
        for number in first..<count {
            guard let batch = next else { preconditionFailure("as many as there are") }
            next = number + 1 < count ? queue.takeFull() : nil
            try body(batch, next)
            queue.giveEmpty(batch)
        }
    }

    // MARK: order

    private func order(ofEpoch epoch: Int) -> [Int32] {
        let indices = examples.indices
        guard isShuffled else { return indices }
        var generator = SeededGenerator(seed: seed, stream: epoch)
        if indices.count <= mixedWhole { return indices.shuffled(using: &generator) }
        let blockCount = (indices.count + Self.block - 1) / Self.block
        let blocks = (0..<blockCount).shuffled(using: &generator)
        var order: [Int32] = []
        order.reserveCapacity(indices.count)
        for first in stride(from: 0, to: blockCount, by: Self.mixed) {
            let start = order.count
            for block in blocks[first..<min(first + Self.mixed, blockCount)] {
                let end = min((block + 1) * Self.block, indices.count)
                order += indices[block * Self.block..<end]
            }
            order[start...].shuffle(using: &generator)
        }
        return order
    }

    // MARK: one batch

    private func fill(_ batch: LoadedBatch, _ examples: ArraySlice<Int32>) {
        batch.removeAll()
        for example in examples {
            batch.examples.append(example)
            switch self.examples {
            case .events: batch.events.append(example)
            case .sequences(_, let last, let parts):
                let events = dataset.events(ofSequence: Int(example), in: parts)
                batch.events += events.suffix(last).lazy.map { Int32($0) }
            }
            batch.offsets.append(Int32(batch.events.count))
        }
        batch.items.append(contentsOf: batch.events.lazy.map { dataset.eventItems[Int($0)] })
        batch.users.append(
            contentsOf: batch.examples.lazy.map { users?.user(of: $0) ?? user(ofSequence: $0) }
        )
        for (place, feature) in features.enumerated() {
            switch feature.column.entity {
            case .users: batch.features[place].append(feature.values, at: batch.users)
            case .items: batch.features[place].append(feature.values, at: batch.items)
            case .events: batch.features[place].append(feature.values, at: batch.events)
            }
        }
    }

    /// Sequences stand by users, in their order.
    private func user(ofSequence sequence: Int32) -> Int32 {
        var (low, high) = (0, dataset.users.count - 1)
        while low < high {
            let middle = (low + high + 1) / 2
            if dataset.userSequences[middle] <= Int64(sequence) {
                low = middle
            } else {
                high = middle - 1
            }
        }
        return Int32(low)
    }
}
