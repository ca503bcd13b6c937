// SPDX-License-Identifier: Apache-2.0

/// Turns the bytes of a block into columns: one worker's half of reading a table.
struct BlockParser<Scanner: RecordScanner>: ~Copyable {
    /// More ids of a worker's own than this are forgotten, and learned again: what a worker
    /// remembers is bounded, only what all share is not.
    private static var mostOwnIDs: Int { 1 << 20 }

    private let columns: [ColumnRequest]
    private let scanner: Scanner
    private var fields = Fields(capacity: 100_000)
    private var own: [Vocabulary]
    private var reported: [Int]
    private var generation = 0
    /// Records that were found and are still to be parsed.
    private var staged = Staged()
    /// The place of each column of ids, and its vocabulary.
    private let idColumns: [(place: Int, vocabulary: Int)]

    /// As many records as a processor can wait for memory for at once.
    private static var mostStaged: Int { 16 }

    private struct Staged {
        /// For each record the place in the block of each requested field.
        var starts: [Int32] = []
        var ends: [Int32] = []
        var lines: [Int] = []
    }

    init(_ columns: [ColumnRequest], _ scanner: Scanner) {
        self.columns = columns
        self.scanner = scanner
        own = Array(repeating: Vocabulary(), count: columns.vocabularyCount)
        reported = own.map(\.count)
        idColumns = columns.enumerated().compactMap { place, column in
            switch column.kind {
            case .id(let vocabulary), .category(let vocabulary): (place, vocabulary)
            case .time, .number: nil
            }
        }
    }

    mutating func parse(_ block: Block) throws {
        guard let part = block.part else { return }
        block.batch.removeAll()
        if own.contains(where: { $0.count > Self.mostOwnIDs }) {
            for place in own.indices {
                own[place].removeAll()
                reported[place] = 0
            }
            generation += 1
        }
        let bytes = unsafe UnsafeMutableRawBufferPointer(rebasing: block.bytes[..<block.count])
        var position = 0
        var line = 0
        scanning: while true {
            switch unsafe scanner.next(in: bytes, &position, &line, &fields) {
            case .end: break scanning
            case .record(let line):
                if fields.count == part.width {
                    stage(part, line)
                    if staged.lines.count == Self.mostStaged {
                        unsafe parseStaged(bytes, to: &block.batch)
                    }
                } else {
                    unsafe parseStaged(bytes, to: &block.batch)
                    block.batch.dropRow(
                        line: line,
                        "\(fields.count) fields where the header has \(part.width)"
                    )
                }
            case .bad(let line, let reason):
                unsafe parseStaged(bytes, to: &block.batch)
                block.batch.dropRow(line: line, reason)
            case .openQuote(let line):
                block.openQuote = line
                break scanning
            }
        }
        unsafe parseStaged(bytes, to: &block.batch)
        block.lines = line
        block.generation = generation
        for place in own.indices {
            block.newIDs[place].removeAll()
            for index in reported[place]..<own[place].count {
                let ids = own[place].ids
                block.newIDs[place].append(ids.bytes[ids.range(index)])
            }
            reported[place] = own[place].count
        }
    }

    @inline(__always)
    private mutating func stage(_ part: Block.Part, _ line: Int) {
        for place in part.places {
            let range = fields.range(place)
            staged.starts.append(Int32(truncatingIfNeeded: range.lowerBound))
            staged.ends.append(Int32(truncatingIfNeeded: range.upperBound))
        }
        staged.lines.append(line)
    }

    private mutating func parseStaged(
        _ bytes: UnsafeMutableRawBufferPointer,
        to batch: inout Batch
    ) {
        // Looking an id up waits for memory; here the waits of several rows overlap.
        for (place, vocabulary) in idColumns {
            for row in staged.lines.indices {
                let range = range(row * columns.count + place)
                let text = unsafe RawSpan(
                    _unsafeStart: bytes.baseAddress.unsafelyUnwrapped + range.lowerBound,
                    byteCount: range.count
                )
                own[vocabulary].prefetch(text)
            }
        }
        for row in staged.lines.indices {
            unsafe add(bytes, row * columns.count, staged.lines[row], to: &batch)
        }
        staged.starts.removeAll(keepingCapacity: true)
        staged.ends.removeAll(keepingCapacity: true)
        staged.lines.removeAll(keepingCapacity: true)
    }

    @inline(__always)
    private func range(_ field: Int) -> Range<Int> {
        Int(staged.starts[field])..<Int(staged.ends[field])
    }

    @inline(__always)
    private mutating func add(
        _ bytes: UnsafeMutableRawBufferPointer,
        _ firstField: Int,
        _ line: Int,
        to batch: inout Batch
    ) {
        for place in columns.indices {
            let range = range(firstField + place)
            let text = unsafe RawSpan(
                _unsafeStart: bytes.baseAddress.unsafelyUnwrapped + range.lowerBound,
                byteCount: range.count
            )
            switch columns[place].kind {
            case .id(let vocabulary):
                if range.isEmpty {
                    return batch.dropRow(line: line, "empty \(columns[place].name)")
                }
                guard let code = own[vocabulary].insert(text) else {
                    return batch.dropRow(line: line, "\(columns[place].name) is not valid UTF-8")
                }
                batch.append(code: code, to: place)
            case .category(let vocabulary):
                if range.isEmpty {
                    batch.append(code: -1, to: place)
                    continue
                }
                guard let code = own[vocabulary].insert(text) else {
                    return batch.dropRow(line: line, "\(columns[place].name) is not valid UTF-8")
                }
                batch.append(code: code, to: place)
            case .time:
                switch Timestamp.parse(text) {
                case .success(let time): batch.append(time: time, to: place)
                case .failure(let problem):
                    return batch.dropRow(line: line, "\(columns[place].name): \(problem.reason)")
                }
            case .number:
                if range.isEmpty {
                    batch.append(number: .nan, to: place)
                } else if let number = Number.parse(text) {
                    let number = Float(number)
                    if number.isInfinite {
                        return batch.dropRow(line: line, "\(columns[place].name) is too large")
                    }
                    batch.append(number: number, to: place)
                } else {
                    return batch.dropRow(line: line, "\(columns[place].name) is not a number")
                }
            }
        }
        batch.endRow()
    }
}

extension [ColumnRequest] {
    /// How many vocabularies they speak of.
    var vocabularyCount: Int {
        1
            + (lazy.compactMap { column -> Int? in
                switch column.kind {
                case .id(let vocabulary), .category(let vocabulary): vocabulary
                case .time, .number: nil
                }
            }.max() ?? -1)
    }
}
