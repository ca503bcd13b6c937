// SPDX-License-Identifier: Apache-2.0
import CKernels

// The first pass in 8 bits: see larder_topk_scan8.

@safe final class Int8Chunk: TopKChunk, @unchecked Sendable {
    typealias Scanner = Int8Scanner
    private let arena = Arena()
    /// Bytes of a panel.
    private let size: Int
    private let panels: UnsafeMutablePointer<UInt8>
    let bounds: UnsafeMutablePointer<larder_topk_panel8>
    let rows: PanelRows

    init(depth: Int, panels count: Int) {
        size = larder_topk_panel8_size(depth)
        unsafe panels = arena.take(UInt8.self, count * size)
        unsafe bounds = arena.take(larder_topk_panel8.self, count)
        rows = PanelRows(arena, panels: count)
    }

    func pack(_ rows: ArraySlice<Int32>, of items: larder_topk_items, asPanel panel: Int) {
        let place = unsafe self.rows.set(rows, panel: panel)
        unsafe withUnsafePointer(to: items) { items in
            unsafe larder_topk_pack8(items, place, rows.count, start(at: panel), bounds + panel)
        }
    }

    /// The panels from one on.
    func start(at panel: Int) -> UnsafeMutablePointer<UInt8> { unsafe panels + panel * size }
}

@safe final class Int8Scanner: TopKScanner {
    private let problem: TopKProblem
    private let arena = Arena()
    private let block: UnsafeMutablePointer<larder_topk_block8>
    private let items: UnsafeMutablePointer<larder_topk_items>

    /// More room than exact lists have: of what the bounds leave open, more stay.
    private static func capacity(k: Int) -> Int { 6 * k + 256 }

    /// Bytes that a query of a block costs: more than in the other pass.
    static func size(k: Int, depth: Int) -> Int {
        capacity(k: k) * 20 + depth + 256
    }

    init(_ problem: TopKProblem, width: Int) {
        self.problem = problem
        let capacity = Self.capacity(k: problem.k)
        unsafe items = arena.take(larder_topk_items.self, 1)
        unsafe items.pointee = problem.items
        unsafe block = arena.take(larder_topk_block8.self, 1)
        unsafe block.pointee.items = UnsafePointer(items)
        unsafe block.pointee.codes = arena.take(
            UInt8.self,
            width * ((problem.depth + 3) / 4 * 4)
        )
        unsafe block.pointee.unit = arena.take(Double.self, width)
        unsafe block.pointee.inverse = arena.take(Double.self, width)
        unsafe block.pointee.reach = arena.take(Double.self, width)
        unsafe block.pointee.span = arena.take(Double.self, width)
        unsafe block.pointee.floor = arena.take(Double.self, width)
        unsafe block.pointee.limits = arena.take(Int32.self, width)
        let lists = unsafe arena.take(larder_topk_list8.self, width)
        for place in 0..<width {
            unsafe lists[place].exact = TopKList.make(arena, k: problem.k, capacity: capacity)
            unsafe lists[place].lower = arena.take(Float.self, capacity)
            unsafe lists[place].upper = arena.take(Float.self, capacity)
            unsafe lists[place].rows = arena.take(Int32.self, capacity)
        }
        unsafe block.pointee.lists = lists
    }

    func scan(_ chunk: Int8Chunk, _ job: TopKBlock) -> Bool {
        begin(job)
        let (excluded, offsets) = problem.excluded(job.queries)
        return unsafe excluded.withUnsafeBufferPointer { excluded in
            for place in 0..<job.queries.count {
                let list = unsafe block.pointee.lists + place
                unsafe list.pointee.exact.excluded = excluded.baseAddress.map {
                    unsafe $0 + offsets[place]
                }
                unsafe list.pointee.exact.excluded_count = offsets[place + 1] - offsets[place]
            }
            // In here, for as long as the excluded rows stand where the lists look for them.
            guard scanSlices(chunk, job) else { return false }
            end(job)
            return true
        }
    }

    private func begin(_ job: TopKBlock) {
        let tile = Int(LARDER_TOPK_QUERIES)
        let count = job.queries.count
        let tileCount = (count + tile - 1) / tile
        let found = problem.lists
        unsafe block.pointee.tile_count = tileCount
        unsafe block.pointee.queries = problem.queries + job.queries.lowerBound * problem.depth
        for place in 0..<tileCount * tile {
            guard place < count else {
                unsafe block.pointee.floor[place] = .infinity
                continue
            }
            let list = job.list + place
            unsafe larder_topk_pack_query8(block, place)
            unsafe larder_topk_begin8(
                block,
                place,
                found.scores + list * found.k,
                found.rows + list * found.k,
                found.counts[list]
            )
        }
    }

    /// False when too many items have to be scored after all, and there is another way.
    private func scanSlices(_ chunk: Int8Chunk, _ job: TopKBlock) -> Bool {
        let slice = 256
        for first in stride(from: job.panels.lowerBound, to: job.panels.upperBound, by: slice) {
            let end = min(first + slice, job.panels.upperBound)
            unsafe larder_topk_scan8(
                block,
                chunk.start(at: first),
                chunk.bounds + first,
                end - first,
                chunk.rows.start + first * PanelRows.width
            )
            var rescored = 0
            for place in 0..<job.queries.count {
                unsafe rescored += block.pointee.lists[place].rescored
            }
            // A score found one by one costs as much as thirty in a tile.
            let items = (end - job.panels.lowerBound) * PanelRows.width
            if problem.mayRefuse, rescored > items * job.queries.count / 32 { return false }
        }
        return true
    }

    private func end(_ job: TopKBlock) {
        let found = problem.lists
        for place in 0..<job.queries.count {
            let list = job.list + place
            unsafe found.counts[list] = larder_topk_end8(
                block,
                place,
                found.scores + list * found.k,
                found.rows + list * found.k
            )
        }
    }
}
