// SPDX-License-Identifier: Apache-2.0

/// Puts the blocks of several workers back in order, and their ids into one vocabulary.
struct Merger {
    private static let mostWaiting = 16

    private let columns: [ColumnRequest]
    private(set) var vocabularies: [Vocabulary]
    /// Of each worker, for each vocabulary: its codes as those of all.
    private var known: [Known]
    private var waiting: [Int: (block: Block, worker: Int)] = [:]
    private var next = 0
    private var spares: [Block] = []
    private var part: Block.Part?
    private var line = 0
    /// Rows that were handed on, bad ones among them.
    private(set) var rows = 0

    private struct Known {
        var generation = 0
        var codes: [[Int32]]
    }

    init(_ columns: [ColumnRequest], _ vocabularies: [Vocabulary], workers: Int) {
        self.columns = columns
        let count = max(columns.vocabularyCount, vocabularies.count)
        self.vocabularies =
            vocabularies + Array(repeating: Vocabulary(), count: count - vocabularies.count)
        known = Array(
            repeating: Known(codes: Array(repeating: [], count: columns.vocabularyCount)),
            count: workers
        )
    }

    var isFull: Bool { waiting.count >= Self.mostWaiting }

    mutating func spare() -> Block { spares.popLast() ?? Block(columns) }

    /// Hands on all blocks whose turn it is.
    mutating func add(_ block: Block, from worker: Int, to sink: some BatchSink) throws {
        waiting[block.ticket] = (block, worker)
        while let (block, worker) = waiting.removeValue(forKey: next) {
            try merge(block, from: worker, to: sink)
            spares.append(block)
            next += 1
        }
    }

    private mutating func merge(
        _ block: Block,
        from worker: Int,
        to sink: some BatchSink
    ) throws {
        if part !== block.part {
            part = block.part
            line = block.part?.headerLines ?? 0
        }
        if let opened = block.openQuote {
            throw TableError.openQuote(block.part?.name ?? "", line: line + opened + 1)
        }
        translate(block, from: worker)
        for place in block.batch.examples.indices { block.batch.examples[place].line += line + 1 }
        block.batch.source = block.part?.name ?? ""
        line += block.lines
        rows += block.batch.count + block.batch.badRows
        try sink.take(block.batch, vocabularies)
    }

    private mutating func translate(_ block: Block, from worker: Int) {
        if known[worker].generation != block.generation {
            known[worker].generation = block.generation
            for place in known[worker].codes.indices { known[worker].codes[place].removeAll() }
        }
        for place in block.newIDs.indices {
            let ids = block.newIDs[place]
            let bytes = unsafe ids.bytes.span.bytes
            for index in 0..<ids.count {
                // A worker has seen that it is valid UTF-8.
                let code = vocabularies[place].insert(bytes.extracting(ids.range(index))) ?? -1
                known[worker].codes[place].append(code)
            }
        }
        for (place, column) in columns.enumerated() {
            switch column.kind {
            case .id(let vocabulary), .category(let vocabulary):
                block.batch.translate(place, by: known[worker].codes[vocabulary])
            case .time, .number: continue
            }
        }
    }
}
