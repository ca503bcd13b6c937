// SPDX-License-Identifier: Apache-2.0
import CUDA
import Synchronization

/// Exact top-k on a GPU: the lists of `TopKIndex`, bit for bit.
///
/// Items stay on the device from the first search on, if they fit; otherwise they go through it, chunk by chunk,
/// in every search. Neither scores nor lists of more queries than fit are ever there.
final class DeviceTopK: Sendable {
    /// As in topk.cu.
    private static let tile = 128
    private static let step = 8
    private static let threads = 256
    /// Bytes of rows that are uploaded at a time, to be packed there.
    private static let staging = 64 << 20
    /// Queries of a launch: of more nothing is gained, and progress is seldom told.
    private static let block = 1 << 17

    let gpu: GPU
    private let resident = Mutex<Chunk?>(nil)

    init(_ gpu: GPU) { self.gpu = gpu }

    /// How long lists may be: a block sorts twice as many keys in its shared memory.
    var longest: Int { Self.mostKeys(gpu.device) - Self.tile }

    /// Keys that a block can sort; what it has in shared memory besides is below 20 KiB.
    private static func mostKeys(_ device: Device) -> Int {
        var most = tile
        while 2 * most * MemoryLayout<UInt64>.size <= device.sharedMemory - 20 << 10 { most *= 2 }
        return most
    }

    struct Problem {
        let items: Matrix
        let bias: [Float]?
        /// Ascending.
        let rows: [Int32]
        let k: Int
        let excluded: [[Int32]]?
    }

    func search(
        _ queries: Matrix,
        _ problem: Problem,
        progress: (Double) throws -> Void
    ) throws -> TopKLists {
        try gpu.device.use {
            let kernels = try gpu.kernels(named: "topk", PackageResources.topk_cu)
            let search = try Search(gpu.device, kernels, problem, queries)
            return try resident.withLock { resident in
                try search.run(&resident, progress)
            }
        }
    }

    /// Items on the device: depth × stride, and what belongs to each.
    fileprivate final class Chunk: @unchecked Sendable {
        /// Of the problem's rows.
        let range: Range<Int>
        let values: DeviceArray<Float>
        let stride: Int
        let bias: DeviceArray<Float>?
        let rows: DeviceArray<Int32>

        init(
            _ range: Range<Int>,
            values: DeviceArray<Float>,
            stride: Int,
            bias: DeviceArray<Float>?,
            rows: DeviceArray<Int32>
        ) {
            self.range = range
            self.values = values
            self.stride = stride
            self.bias = bias
            self.rows = rows
        }
    }

    /// One search, with the device to itself.
    private struct Search {
        let device: Device
        let pack: Kernel
        let scan: Kernel
        let finish: Kernel
        let problem: Problem
        let queries: Matrix
        /// Keys that are kept of a query.
        let capacity: Int
        let k: Int

        init(
            _ device: Device,
            _ kernels: Kernels,
            _ problem: Problem,
            _ queries: Matrix
        ) throws {
            self.device = device
            self.problem = problem
            self.queries = queries
            k = min(problem.k, problem.rows.count)
            // At least k and a tile must fit; with twice that they are sorted a handful of times.
            var capacity = 512
            while capacity < 2 * (k + tile), capacity < DeviceTopK.mostKeys(device) {
                capacity *= 2
            }
            self.capacity = capacity
            let shared = capacity * MemoryLayout<UInt64>.size
            pack = try kernels.kernel("topk_pack")
            scan = try kernels.kernel("topk_scan", sharedMemory: shared)
            finish = try kernels.kernel("topk_finish", sharedMemory: shared)
        }

        private var depth: Int { problem.items.columns }
        private var paddedDepth: Int { (depth + step - 1) / step * step }
        /// Of an item.
        private var itemBytes: Int { 4 * paddedDepth + 8 }
        /// Of a query, what is excluded, its keys and its list.
        private func queryBytes(_ segments: Int) -> Int {
            let excluded = (problem.excluded ?? []).reduce(0) { $0 + $1.count }
            return 4 * paddedDepth + (8 * capacity + 16) * segments + 8 * k + 32
                + 4 * excluded / max(1, queries.rows)
        }

        func run(_ resident: inout Chunk?, _ progress: (Double) throws -> Void) throws -> TopKLists
        {
            var lists = TopKLists(queries: queries.rows, k: problem.k)
            let all = problem.rows.count
            // With few queries, items are divided among the multiprocessors, two blocks to each.
            let tiles = (min(queries.rows, DeviceTopK.block) + tile - 1) / tile
            let most = max(1, (all + tile - 1) / tile)
            let segments = min(most, max(1, (2 * device.multiprocessors + tiles - 1) / tiles))
            let queryBytes = queryBytes(segments)
            if resident == nil, try all * itemBytes <= room() * 2 / 3 {
                resident = try chunk(0..<all)
            }
            let free = try room()
            let chunkItems = resident == nil ? free / 3 / itemBytes / tile * tile : all
            let fitting = (resident == nil ? free / 2 : free) / queryBytes
            let block = min(
                DeviceTopK.block,
                fitting < queries.rows ? fitting / tile * tile : fitting
            )
            // With less it would take longer than on the processor.
            guard chunkItems >= min(all, 16 * tile), block >= min(queries.rows, 4 * tile) else {
                throw CUDAError.outOfMemory(
                    wanted: 2 * min(all, 16 * tile) * itemBytes + 8 * tile * queryBytes,
                    free: max(0, free),
                    of: device.memory
                )
            }
            for first in stride(from: 0, to: queries.rows, by: block) {
                let part = first..<min(first + block, queries.rows)
                let state = try State(self, part, segments)
                for start in stride(from: 0, to: all, by: chunkItems) {
                    let range = start..<min(start + chunkItems, all)
                    try take(state, through: try resident ?? chunk(range))
                    try device.synchronise()
                    let done = Double(range.upperBound) / Double(all)
                    try progress((Double(first) + done * Double(part.count)) / Double(queries.rows))
                }
                try write(state, part, &lists)
            }
            return lists
        }

        /// Bytes that can be had, besides those that rows are uploaded to; a little is left to whoever else is there.
        private func room() throws -> Int {
            let largest = 4 * depth * max(problem.rows.count, min(queries.rows, DeviceTopK.block))
            return try device.freeMemory() * 15 / 16 - min(staging, largest)
        }

        /// What is kept of a block of queries from one chunk of items to the next.
        private struct State {
            let count: Int
            let segments: Int
            let stride: Int
            let values: DeviceArray<Float>
            let excluded: DeviceArray<Int32>?
            let excludedEnds: DeviceArray<Int64>?
            let keys: DeviceArray<UInt64>
            let taken: DeviceArray<Int32>
            let thresholds: DeviceArray<UInt64>

            init(_ search: Search, _ part: Range<Int>, _ segments: Int) throws {
                self.segments = segments
                let device = search.device
                count = part.count
                stride = (count + tile - 1) / tile * tile
                values = try search.packed(part, of: search.queries, rows: nil, stride: stride)
                if let all = search.problem.excluded {
                    let own = all[part]
                    let ends = own.reduce(into: [Int64]()) { ends, rows in
                        ends.append((ends.last ?? 0) + Int64(rows.count))
                    }
                    excluded = try DeviceArray(own.flatMap(\.self), on: device)
                    excludedEnds = try DeviceArray(ends, on: device)
                } else {
                    (excluded, excludedEnds) = (nil, nil)
                }
                keys = try DeviceArray(segments * count * search.capacity, on: device)
                taken = try DeviceArray(segments * count, on: device)
                thresholds = try DeviceArray(segments * count, on: device)
                try taken.clear()
                try thresholds.clear()
            }
        }

        private func take(_ state: State, through chunk: Chunk) throws {
            var arguments = Kernel.Arguments()
            arguments.append(state.values)
            arguments.append(Int32(state.count))
            arguments.append(Int32(state.stride))
            arguments.append(chunk.values)
            arguments.append(Int32(chunk.range.count))
            arguments.append(Int32(chunk.stride))
            arguments.append(chunk.bias)
            arguments.append(chunk.rows)
            arguments.append(Int32(depth))
            arguments.append(state.excluded)
            arguments.append(state.excludedEnds)
            arguments.append(state.keys)
            arguments.append(Int32(capacity))
            arguments.append(Int32(k))
            arguments.append(state.taken)
            arguments.append(state.thresholds)
            try scan.launch(
                blocks: (state.stride / tile, state.segments),
                threads: (threads, 1),
                sharedMemory: capacity * MemoryLayout<UInt64>.size,
                arguments
            )
        }

        private func write(_ state: State, _ part: Range<Int>, _ lists: inout TopKLists) throws {
            let counts = try DeviceArray<Int32>(state.count, on: device)
            let rows = try DeviceArray<Int32>(state.count * k, on: device)
            let scores = try DeviceArray<Float>(state.count * k, on: device)
            var arguments = Kernel.Arguments()
            arguments.append(state.keys)
            arguments.append(Int32(state.count))
            arguments.append(Int32(state.segments))
            arguments.append(Int32(capacity))
            arguments.append(Int32(k))
            arguments.append(state.taken)
            arguments.append(state.excluded)
            arguments.append(state.excludedEnds)
            arguments.append(counts)
            arguments.append(rows)
            arguments.append(scores)
            try finish.launch(
                blocks: (state.count, 1),
                threads: (threads, 1),
                sharedMemory: capacity * MemoryLayout<UInt64>.size,
                arguments
            )
            let found = try counts.values()
            let (foundRows, foundScores) = (try rows.values(), try scores.values())
            for (place, query) in part.enumerated() {
                let count = Int(found[place])
                lists.counts[query] = count
                for n in 0..<count {
                    lists.rows[query * lists.k + n] = foundRows[place * k + n]
                    lists.scores[query * lists.k + n] = foundScores[place * k + n]
                }
            }
        }

        // MARK: packing

        private func chunk(_ range: Range<Int>) throws -> Chunk {
            let stride = (range.count + tile - 1) / tile * tile
            let rows = problem.rows[range]
            let bias = try problem.bias.map { bias in
                try DeviceArray(rows.map { bias[Int($0)] }, on: device)
            }
            return Chunk(
                range,
                values: try packed(0..<range.count, of: problem.items, rows: rows, stride: stride),
                stride: stride,
                bias: bias,
                rows: try DeviceArray(Array(rows), on: device)
            )
        }

        /// Rows of a matrix as columns: those of the range, or those that the range has of `rows`.
        private func packed(
            _ range: Range<Int>,
            of matrix: Matrix,
            rows: ArraySlice<Int32>?,
            stride: Int
        ) throws -> DeviceArray<Float> {
            let packed = try DeviceArray<Float>(paddedDepth * stride, on: device)
            try packed.clear()
            let atATime = max(32, staging / (4 * depth))
            let staged = try DeviceArray<Float>(min(atATime, range.count) * depth, on: device)
            for start in Swift.stride(from: 0, to: range.count, by: atATime) {
                let count = min(atATime, range.count - start)
                if let rows {
                    // Mostly all of them: one piece of memory.
                    let own = rows[rows.startIndex + start..<rows.startIndex + start + count]
                    if let first = own.first, own.last == first + Int32(count) - 1 {
                        try staged.upload(
                            matrix.values[Int(first) * depth..<(Int(first) + count) * depth]
                        )
                    } else {
                        try staged.upload(own.flatMap { matrix[row: Int($0)] }[...])
                    }
                } else {
                    let first = range.lowerBound + start
                    try staged.upload(matrix.values[first * depth..<(first + count) * depth])
                }
                var arguments = Kernel.Arguments()
                arguments.append(staged)
                arguments.append(Int32(count))
                arguments.append(Int32(depth))
                arguments.append(Int32(start))
                arguments.append(Int32(stride))
                arguments.append(packed)
                try pack.launch(
                    blocks: ((count + 31) / 32, (paddedDepth + 31) / 32),
                    threads: (32, 8),
                    arguments
                )
                // The next rows are uploaded to where these are read from.
                try device.synchronise()
            }
            return packed
        }
    }
}
