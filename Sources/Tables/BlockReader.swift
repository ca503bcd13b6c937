// SPDX-License-Identifier: Apache-2.0
private import Glibc
import Synchronization

/// Cuts the files of a table into blocks of whole records.
struct BlockReader<Scanner: RecordScanner> {
    private let scanner: Scanner
    private let columns: [String]
    private let hasHeader: Bool
    private let blockBytes: Int
    private let check: Table.Check
    private let progress: TableProgress
    /// Of parts that have been read.
    private var consumed = 0
    private var parts: ArraySlice<Table.Part>
    private var stream: (any ByteStream)?
    private var part: Block.Part?
    /// What was read behind the last whole record.
    private var rest: [UInt8] = []
    private var isAtEnd = true
    private var tickets = 0

    init(
        _ parts: [Table.Part],
        _ scanner: Scanner,
        columns: [String],
        hasHeader: Bool,
        blockBytes: Int,
        check: @escaping Table.Check,
        progress: TableProgress
    ) {
        self.blockBytes = blockBytes
        self.check = check
        self.progress = progress
        self.parts = parts[...]
        self.scanner = scanner
        self.columns = columns
        self.hasHeader = hasHeader
    }

    /// Fills a block with the next records; false when there are none.
    mutating func fill(_ block: Block) throws -> Bool {
        while true {
            while isAtEnd && rest.isEmpty {
                guard let next = parts.popFirst() else { return false }
                try open(next)
            }
            block.count = 0
            take(&rest, into: block)
            try readRecords(into: block)
            guard block.count > 0 else { continue }
            block.part = part
            block.ticket = tickets
            tickets += 1
            return true
        }
    }

    /// Reads on until the block holds a good part of whole records, and keeps what is behind.
    private mutating func readRecords(into block: Block) throws {
        var total = block.count
        while true {
            let wanted = min(max(blockBytes, total + 1), Block.capacity)
            while !isAtEnd && total < wanted {
                guard try read(into: block, &total) else { break }
            }
            if isAtEnd {
                // The last record needs no line end.
                block.count = total
                return
            }
            let whole = unsafe scanner.wholeRecords(
                in: UnsafeRawBufferPointer(rebasing: block.bytes[..<total])
            )
            if whole > 0 {
                unsafe rest.append(contentsOf: block.bytes[whole..<total])
                block.count = whole
                return
            }
            if total >= Block.longestRecord {
                throw TableError.input(
                    "\(part?.name ?? ""): a record is longer than 1 MiB",
                    hint: "look for a quote that is opened and never closed"
                )
            }
        }
    }

    private mutating func read(into block: Block, _ total: inout Int) throws -> Bool {
        let count =
            try unsafe stream?.read(
                into: .init(
                    rebasing: block.bytes[total..<min(total + blockBytes, Block.capacity)]
                )
            ) ?? 0
        progress.bytes.store(consumed + (stream?.consumed ?? 0), ordering: .relaxed)
        if count == 0 {
            isAtEnd = true
            consumed += stream?.consumed ?? 0
            stream = nil
        }
        total += count
        return count > 0
    }

    private func take(_ rest: inout [UInt8], into block: Block) {
        unsafe rest.withUnsafeBytes { unsafe block.bytes.copyMemory(from: $0) }
        block.count = rest.count
        rest.removeAll(keepingCapacity: true)
    }

    // MARK: headers

    private mutating func open(_ next: Table.Part) throws {
        stream = try next.open(check)
        isAtEnd = false
        rest.removeAll()
        part = Block.Part(
            name: next.name,
            places: Array(columns.indices),
            width: columns.count,
            headerLines: 0
        )
        let block = Block()
        var total = 0
        while !isAtEnd, total < 4 { _ = try read(into: block, &total) }
        // Spreadsheets put a byte order mark in front of UTF-8.
        var at = unsafe block.bytes[..<total].starts(with: [0xef, 0xbb, 0xbf]) ? 3 : 0
        if hasHeader { try readHeader(next.name, block, &at, &total) }
        unsafe rest.append(contentsOf: block.bytes[at..<total])
    }

    private mutating func readHeader(
        _ name: String,
        _ block: Block,
        _ at: inout Int,
        _ total: inout Int
    ) throws {
        var names: [String] = []
        var line = 0
        while true {
            // The header is read in a copy, because reading unquotes where the text stands.
            let copy = UnsafeMutableRawBufferPointer.allocate(byteCount: total, alignment: 1)
            defer { unsafe copy.deallocate() }
            unsafe copy.copyMemory(from: .init(rebasing: block.bytes[..<total]))
            if unsafe copy.contains(0) {
                throw TableError.input("\(name): is not a text file: it has zero bytes")
            }
            var fields = Fields(capacity: 100_000)
            var end = at
            line = 0
            let scan = unsafe scanner.next(in: copy, &end, &line, &fields)
            if isAtEnd || end < total {
                switch scan {
                case .record: break
                case .openQuote(let line):
                    throw TableError.openQuote(name, line: line + 1)
                case .bad(_, let reason): throw TableError.input("\(name), line 1: \(reason)")
                case .end: throw TableError.input("\(name): is empty")
                }
                guard fields.count <= 100_000 else {
                    throw TableError.input("\(name): the header has more than 100,000 columns")
                }
                names = (0..<fields.count).map { place in
                    unsafe String(decoding: copy[fields.range(place)], as: UTF8.self)
                }
                at = end
                break
            }
            guard total < Block.longestRecord else {
                throw TableError.input("\(name): the header is longer than 1 MiB")
            }
            _ = try read(into: block, &total)
        }
        part = Block.Part(
            name: name,
            places: try columns.map { try place(of: $0, in: names, name) },
            width: names.count,
            headerLines: line
        )
    }

    private func place(of column: String, in names: [String], _ path: String) throws -> Int {
        guard let place = names.firstIndex(of: column) else {
            let shown = names.prefix(20).map { $0.count > 40 ? $0.prefix(40) + "…" : $0 }
            let near = EditDistance.nearest(to: column, in: names)
            throw TableError.input(
                "\(path) has no column \"\(column)\"; it has \(shown.joined(separator: ", "))",
                hint: near.map { "did you mean \"\($0)\"?" }
            )
        }
        if names[(place + 1)...].contains(column) {
            throw TableError.input("\(path) has two columns \"\(column)\"")
        }
        return place
    }
}

extension TableError {
    static func openQuote(_ name: String, line: Int) -> TableError {
        .input("\(name), line \(line): a quote is opened and never closed")
    }
}
