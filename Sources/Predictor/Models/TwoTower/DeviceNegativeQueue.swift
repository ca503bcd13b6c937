// SPDX-License-Identifier: Apache-2.0
import CUDA

/// The vectors of a `NegativeQueue` on a device.
final class DeviceNegativeQueue {
    private let queue: NegativeQueue
    private let rows: DeviceRows
    private var vectors: DeviceMatrix
    /// What the next ones are written to.
    private var other: DeviceMatrix
    private let joined: DeviceMatrix

    init(_ queue: NegativeQueue, _ layers: DeviceLayers) throws(CUDAError) {
        self.queue = queue
        rows = layers.rows
        // All that there ever are: once weights move, a step must not want for room.
        vectors = try layers.matrix(rows: queue.capacity, columns: queue.columns)
        other = try layers.matrix(rows: queue.capacity, columns: queue.columns)
        try vectors.resize(rows: queue.vectors.count / queue.columns)
        try vectors.array.upload(queue.vectors[...])
        joined = try layers.matrix(columns: queue.columns)
    }

    /// The rows of this batch, then its own.
    func join(_ own: DeviceMatrix) throws(CUDAError) -> DeviceMatrix {
        try joined.resize(rows: own.rows + vectors.rows)
        try rows.copy(own, into: joined)
        try rows.copy(vectors, into: joined, row: own.rows)
        return joined
    }

    /// Takes the vectors of a batch, and lets the oldest go; the queue is to be told of the items after that.
    func push(_ own: DeviceMatrix) throws(CUDAError) {
        let change = queue.change(by: own.rows)
        let left = change.gone..<vectors.rows
        try other.resize(rows: left.count + change.kept)
        try rows.copy(vectors, left, into: other)
        try rows.copy(own, own.rows - change.kept..<own.rows, into: other, row: left.count)
        swap(&vectors, &other)
    }

    /// Brings the vectors to the queue.
    func settle() throws(CUDAError) { queue.vectors = try vectors.values() }
}
