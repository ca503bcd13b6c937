// SPDX-License-Identifier: Apache-2.0
import CKernels

/// What all threads of a search share.
@safe struct TopKProblem: @unchecked Sendable {
    /// n × depth.
    let queries: UnsafePointer<Float>
    let items: larder_topk_items
    /// Not more than there are items.
    let k: Int
    /// Of each query.
    let excluded: [[Int32]]?
    /// A pass that does not pay may leave the work to the other.
    let mayRefuse: Bool
    let lists: TopKLists.Writer

    var depth: Int { unsafe items.depth }

    /// The excluded rows of some queries, one query's after the other's, and where each begins.
    func excluded(_ queries: Range<Int>) -> (rows: [Int32], offsets: [Int]) {
        var rows: [Int32] = []
        var offsets = [0]
        for query in queries {
            if let excluded {
                precondition(isAscending(excluded[query]), "excluded rows must be ascending")
                rows += excluded[query]
            }
            offsets.append(rows.count)
        }
        return (rows, offsets)
    }
}

/// What a thread does without asking: some queries through some panels.
struct TopKBlock {
    let queries: Range<Int>
    let panels: Range<Int>
    /// Where the list of the first query is, the others' behind it.
    let list: Int
}

/// Packed items: threads write different panels, then all read them.
protocol TopKChunk: Sendable {
    associatedtype Scanner: TopKScanner where Scanner.Chunk == Self
    init(depth: Int, panels: Int)
    func pack(_ rows: ArraySlice<Int32>, of items: larder_topk_items, asPanel panel: Int)
}

/// What one thread needs to take blocks through a chunk.
protocol TopKScanner {
    associatedtype Chunk
    init(_ problem: TopKProblem, width: Int)
    /// Starts from the lists as they are, and writes them back. False if this is not the way to do
    /// it with these vectors: then nothing has been written.
    func scan(_ chunk: Chunk, _ block: TopKBlock) -> Bool
}

/// The rows of the items of each panel, 64 a panel, in memory that kernels read.
@safe struct PanelRows: @unchecked Sendable {
    static let width = Int(LARDER_TOPK_PANEL)
    let start: UnsafeMutablePointer<Int32>

    init(_ arena: Arena, panels: Int) {
        unsafe start = arena.take(Int32.self, panels * Self.width)
    }

    func set(_ rows: ArraySlice<Int32>, panel: Int) -> UnsafeMutablePointer<Int32> {
        let place = unsafe start + panel * Self.width
        for (i, row) in rows.enumerated() { unsafe place[i] = row }
        return unsafe place
    }
}

// MARK: 32-bit floating point

@safe final class FloatChunk: TopKChunk, @unchecked Sendable {
    typealias Scanner = FloatScanner
    private let arena = Arena()
    /// Floats of a panel.
    private let size: Int
    private let panels: UnsafeMutablePointer<Float>
    let rows: PanelRows

    init(depth: Int, panels count: Int) {
        size = PanelRows.width * (depth + 1)
        unsafe panels = arena.take(Float.self, count * size)
        rows = PanelRows(arena, panels: count)
    }

    func pack(_ rows: ArraySlice<Int32>, of items: larder_topk_items, asPanel panel: Int) {
        let place = unsafe self.rows.set(rows, panel: panel)
        unsafe withUnsafePointer(to: items) { items in
            unsafe larder_topk_pack(items, place, rows.count, start(at: panel))
        }
    }

    /// The panels from one on.
    func start(at panel: Int) -> UnsafeMutablePointer<Float> { unsafe panels + panel * size }
}

@safe final class FloatScanner: TopKScanner {
    private let problem: TopKProblem
    private let arena = Arena()
    private let tiles: UnsafeMutablePointer<Float>
    private let lists: UnsafeMutablePointer<larder_topk_list>

    init(_ problem: TopKProblem, width: Int) {
        self.problem = problem
        unsafe tiles = arena.take(Float.self, width * problem.depth)
        unsafe lists = arena.take(larder_topk_list.self, width)
        for place in 0..<width {
            unsafe lists[place] = TopKList.make(
                arena,
                k: problem.k,
                capacity: TopKList.capacity(k: problem.k)
            )
        }
    }

    func scan(_ chunk: FloatChunk, _ block: TopKBlock) -> Bool {
        let tile = Int(LARDER_TOPK_QUERIES)
        let count = block.queries.count
        let tileCount = (count + tile - 1) / tile
        let found = problem.lists
        let (excluded, offsets) = problem.excluded(block.queries)
        unsafe larder_topk_pack_queries(
            problem.queries + block.queries.lowerBound * problem.depth,
            count,
            problem.depth,
            tiles
        )
        unsafe excluded.withUnsafeBufferPointer { excluded in
            for place in 0..<tileCount * tile {
                guard place < count else {
                    unsafe lists[place].threshold = .infinity
                    continue
                }
                unsafe lists[place].excluded = excluded.baseAddress.map {
                    unsafe $0 + offsets[place]
                }
                unsafe lists[place].excluded_count = offsets[place + 1] - offsets[place]
                let list = block.list + place
                unsafe larder_topk_begin(
                    &lists[place],
                    found.scores + list * found.k,
                    found.rows + list * found.k,
                    found.counts[list]
                )
            }
            unsafe larder_topk_scan(
                tiles,
                tileCount,
                chunk.start(at: block.panels.lowerBound),
                block.panels.count,
                problem.depth,
                chunk.rows.start + block.panels.lowerBound * PanelRows.width,
                lists
            )
        }
        for place in 0..<count {
            let list = block.list + place
            unsafe found.counts[list] = larder_topk_end(
                &lists[place],
                found.scores + list * found.k,
                found.rows + list * found.k
            )
        }
        return true
    }
}

/// The lists that kernels fill.
enum TopKList {
    /// Room for the k best and for what comes before the next cut.
    static func capacity(k: Int) -> Int { 2 * k + 16 }

    static func make(_ arena: Arena, k: Int, capacity: Int) -> larder_topk_list {
        var list = unsafe larder_topk_list()
        unsafe list.scores = arena.take(Float.self, capacity)
        unsafe list.rows = arena.take(Int32.self, capacity)
        unsafe list.capacity = UInt32(capacity)
        unsafe list.k = UInt32(k)
        return unsafe list
    }
}

func isAscending(_ rows: [Int32]) -> Bool { zip(rows, rows.dropFirst()).allSatisfy { $0 < $1 } }
