// SPDX-License-Identifier: Apache-2.0
import CKernels
import Executors
import Synchronization

/// A search by blocks of queries: items are packed chunk by chunk, and all blocks go through each.
struct TopKSearch {
    let problem: TopKProblem
    let queryCount: Int
    /// The items, ascending.
    let rows: [Int32]
    let packed: PackedItems
    let threads: Int
    /// Lists of a query, one of each part of a chunk.
    let parts: Int
    /// Queries of a block.
    private let width: Int

    /// Items packed at a time, in 32 bits.
    private static let chunkBytes = 64 << 20
    /// All threads' lists and queries.
    private static let scannerBytes = 128 << 20

    init(
        problem: TopKProblem,
        queryCount: Int,
        rows: [Int32],
        packed: PackedItems,
        threads: Int,
        parts: Int
    ) {
        self.problem = problem
        self.queryCount = queryCount
        self.rows = rows
        self.packed = packed
        self.parts = parts
        let tile = Int(LARDER_TOPK_QUERIES)
        let size = Int8Scanner.size(k: problem.k, depth: problem.depth)
        // As many threads as have room for a tile, and for each as many queries as share a panel
        // in the cache, but no more than leave something to do for all.
        self.threads = max(1, min(threads, Self.scannerBytes / (tile * size)))
        let each = parts > 1 ? queryCount : (queryCount + self.threads - 1) / self.threads
        let most = min(
            192,
            (384 << 10) / (4 * problem.depth),
            Self.scannerBytes / self.threads / size,
            each + tile - 1
        )
        width = max(1, most / tile) * tile
    }

    func run(_ pass: TopKIndex.Pass, _ progress: (Double) throws -> Void) throws {
        // One size for both passes: what the first leaves undone, the second does.
        let panels = max(1, Self.chunkBytes / (PanelRows.width * (problem.depth + 1) * 4))
        let chunks = stride(from: 0, to: rows.count, by: panels * PanelRows.width)
            .map { rows[$0..<min($0 + panels * PanelRows.width, rows.count)] }
        var isInt8 = pass == .int8 || pass == .automatic && larder_topk_prefers8() != 0
        // Sums of more products of codes would not fit.
        if problem.depth > 1 << 14 || problem.mayRefuse && packed.isLoose { isInt8 = false }
        for (number, rows) in chunks.enumerated() {
            var left = blocks(panels: panelCount(rows))
            let all = Double(left.count)
            // Refused blocks are not done: the share goes on from there.
            let tell = { (left: Int) in
                try progress((Double(number) + 1 - Double(left) / all) / Double(chunks.count))
            }
            if isInt8 {
                left = try meet(rows, Int8Chunk.self, left, tell)
                isInt8 = left.isEmpty
                if !isInt8 { packed.isLoose = true }
            }
            if !left.isEmpty { left = try meet(rows, FloatChunk.self, left, tell) }
        }
    }

    /// Takes blocks through one chunk; returns those for which this is not the way.
    private func meet<Chunk: TopKChunk>(
        _ rows: ArraySlice<Int32>,
        _: Chunk.Type,
        _ blocks: [TopKBlock],
        _ tell: (_ left: Int) throws -> Void
    ) throws -> [TopKBlock] {
        let chunk: Chunk = try packed.chunk(isAll: rows.count == self.rows.count) {
            try pack(rows)
        }
        let queue = BlockQueue(blocks)
        @Sendable func work(_ afterBlock: () throws -> Void) rethrows {
            let scanner = Chunk.Scanner(problem, width: width)
            while let block = queue.take() {
                if !scanner.scan(chunk, block) { queue.refuse(block) }
                try afterBlock()
            }
            // Maybe the others were faster, and this one has had no block at all.
            try afterBlock()
        }
        try team(of: threads) {
            try work { try tell(queue.left.count) }
        } help: {
            work {}
        } stop: {
            queue.stop()
        }
        return queue.left
    }

    private func pack<Chunk: TopKChunk>(_ rows: ArraySlice<Int32>) throws -> Chunk {
        let panels = panelCount(rows)
        let chunk = Chunk(depth: problem.depth, panels: panels)
        try concurrently(threads) { thread in
            for panel in stride(from: thread, to: panels, by: threads) {
                let first = rows.startIndex + panel * PanelRows.width
                unsafe chunk.pack(
                    rows[first..<min(first + PanelRows.width, rows.endIndex)],
                    of: problem.items,
                    asPanel: panel
                )
            }
        }
        return chunk
    }

    private func panelCount(_ rows: ArraySlice<Int32>) -> Int {
        (rows.count + PanelRows.width - 1) / PanelRows.width
    }

    private func blocks(panels: Int) -> [TopKBlock] {
        (0..<parts).flatMap { part in
            stride(from: 0, to: queryCount, by: width).map { first in
                TopKBlock(
                    queries: first..<min(first + width, queryCount),
                    panels: panels * part / parts..<panels * (part + 1) / parts,
                    list: part * queryCount + first
                )
            }
        }
    }
}

/// What an index keeps for its next search: its packed items, where they fit into one chunk, and
/// whether their bounds in 8 bits were too loose to pay.
final class PackedItems: Sendable {
    private let state = Mutex<(chunk: (any TopKChunk)?, isLoose: Bool)>((nil, false))

    var isLoose: Bool {
        get { state.withLock { $0.isLoose } }
        set { state.withLock { $0.isLoose = newValue } }
    }

    func chunk<Chunk: TopKChunk>(isAll: Bool, _ pack: () throws -> Chunk) rethrows -> Chunk {
        if isAll, let chunk = state.withLock({ $0.chunk as? Chunk }) { return chunk }
        let chunk = try pack()
        if isAll { state.withLock { $0.chunk = chunk } }
        return chunk
    }
}

/// Blocks of queries that are still to be done.
private final class BlockQueue: Sendable {
    private let blocks: [TopKBlock]
    private let state = Mutex((next: 0, refused: [TopKBlock](), isStopped: false))

    init(_ blocks: [TopKBlock]) { self.blocks = blocks }

    func take() -> TopKBlock? {
        state.withLock { state in
            guard !state.isStopped, state.next < blocks.count else { return nil }
            state.next += 1
            return blocks[state.next - 1]
        }
    }

    func stop() { state.withLock { $0.isStopped = true } }

    /// What does not work for one block will not for the others.
    func refuse(_ block: TopKBlock) {
        state.withLock { state in
            state.refused.append(block)
            state.isStopped = true
        }
    }

    var left: [TopKBlock] { state.withLock { $0.refused + blocks[$0.next...] } }
}
