// SPDX-License-Identifier: Apache-2.0
private import Executors
private import Glibc
private import Synchronization

/// Takes the rows of a table, one batch after the other, in the table's order.
package protocol BatchSink: AnyObject, Sendable {
    /// Called by one thread at a time, though not always the same.
    ///
    /// `vocabularies` are those of the rows so far. What it throws ends the reading.
    func take(_ batch: borrowing Batch, _ vocabularies: borrowing [Vocabulary]) throws
}

/// A table of anyone's: files of one format, or a query, read once by several threads.
///
/// Threads take blocks of whole records in turn, find the fields, and index ids in vocabularies of
/// their own; then, in the order of the blocks, new ids are added to the vocabularies of all and
/// the codes translated. So the outcome does not depend on the number of threads.
package final class Table: Sendable {
    /// What it reads, in words.
    package let name: String
    /// What is read of the table for these columns; queries ask for no others.
    private let parts: @Sendable ([ColumnRequest], @escaping Check) throws -> [Part]
    private let format: Format

    package typealias Check = @Sendable () throws -> Void

    enum Format {
        case delimited(DelimitedScanner)
        case jsonLines
        case postgresCopy
    }

    struct Part: Sendable {
        let name: String
        /// `check` is called now and then while nothing comes, and may throw to stop.
        let open: @Sendable (_ check: @escaping Check) throws -> any ByteStream
    }

    init(
        name: String,
        _ format: Format,
        _ parts: @escaping @Sendable ([ColumnRequest], @escaping Check) throws -> [Part]
    ) {
        self.name = name
        self.format = format
        self.parts = parts
    }

    /// Reads everything; returns the vocabularies, numbered as in the requests.
    ///
    /// `vocabularies` are known already, and new ids are added behind. `blockBytes` is small enough
    /// for a processor's cache, and large enough to be worth a lock. It ends soon after `mostRows`,
    /// with whole blocks.
    package func read(
        _ columns: [ColumnRequest],
        threads: Int = processorCount,
        vocabularies: [Vocabulary] = [],
        blockBytes: Int = 1 << 20,
        mostRows: Int = .max,
        progress: TableProgress = TableProgress(),
        check: @escaping Check = {},
        into sink: some BatchSink
    ) throws -> [Vocabulary] {
        let plan = Plan(columns, threads, vocabularies, blockBytes, mostRows, progress, check)
        return switch format {
        case .delimited(let scanner): try read(plan, scanner, hasHeader: true, sink)
        case .jsonLines:
            try read(plan, JSONLinesScanner(keys: columns.map(\.name)), hasHeader: false, sink)
        case .postgresCopy: try read(plan, PostgresCopyScanner(), hasHeader: false, sink)
        }
    }

    package static var processorCount: Int { max(1, sysconf(Int32(_SC_NPROCESSORS_ONLN))) }

    private struct Plan {
        let columns: [ColumnRequest]
        let threads: Int
        let vocabularies: [Vocabulary]
        let blockBytes: Int
        let mostRows: Int
        let progress: TableProgress
        let check: Check

        init(
            _ columns: [ColumnRequest],
            _ threads: Int,
            _ vocabularies: [Vocabulary],
            _ blockBytes: Int,
            _ mostRows: Int,
            _ progress: TableProgress,
            _ check: @escaping Check
        ) {
            self.columns = columns
            self.threads = threads
            self.vocabularies = vocabularies
            self.blockBytes = blockBytes
            self.mostRows = mostRows
            self.progress = progress
            self.check = check
        }
    }

    private func read<Scanner: RecordScanner>(
        _ plan: Plan,
        _ scanner: Scanner,
        hasHeader: Bool,
        _ sink: some BatchSink
    ) throws -> [Vocabulary] {
        let parts = try parts(plan.columns, plan.check)
        let columns = plan.columns
        let blocks = Mutex(
            BlockReader(
                parts,
                scanner,
                columns: columns.map(\.name),
                hasHeader: hasHeader,
                blockBytes: plan.blockBytes,
                check: plan.check,
                progress: plan.progress
            )
        )
        let merger = Mutex(Merger(columns, plan.vocabularies, workers: plan.threads))
        let isOver = Atomic(false)
        try concurrently(plan.threads) { worker in
            do {
                var parser = BlockParser(columns, scanner)
                while !isOver.load(ordering: .relaxed) {
                    let block = merger.withLock { $0.spare() }
                    guard try blocks.withLock({ try $0.fill(block) }) else { break }
                    try parser.parse(block)
                    let rows = try merger.withLock { merger in
                        try merger.add(block, from: worker, to: sink)
                        return merger.rows
                    }
                    if rows >= plan.mostRows { isOver.store(true, ordering: .relaxed) }
                    // A thread that is far ahead waits for the one that holds the oldest block.
                    while merger.withLock({ $0.isFull }), !isOver.load(ordering: .relaxed) {
                        usleep(100)
                    }
                }
            } catch {
                isOver.store(true, ordering: .relaxed)
                throw error
            }
        }
        return merger.withLock { $0.vocabularies }
    }
}
