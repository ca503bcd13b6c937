// SPDX-License-Identifier: Apache-2.0

/// One record of a delimited file: its fields, unquoted, in one buffer that is used again.
struct Record {
    fileprivate(set) var bytes: [UInt8] = []
    /// The end of each field in `bytes`; a field starts where the one before ends.
    fileprivate(set) var ends: [Int] = []
    /// The line on which the record starts, from 1.
    fileprivate(set) var line = 0

    var count: Int { ends.count }

    func range(_ field: Int) -> Range<Int> { (field == 0 ? 0 : ends[field - 1])..<ends[field] }

    func text(_ field: Int) -> String { String(decoding: bytes[range(field)], as: UTF8.self) }
}

/// Reads CSV (RFC 4180: quotes, doubled quotes, line breaks inside quotes, CRLF or LF) or TSV
/// (no quoting), plain or gzip, in one pass with bounded memory.
struct DelimitedReader: ~Copyable {
    enum Format: String, Sendable, Codable {
        case csv
        case tsv
        var delimiter: UInt8 { self == .csv ? UInt8(ascii: ",") : UInt8(ascii: "\t") }
    }

    /// A quote that is never closed would otherwise read the rest of the file into one field.
    static let longestRecord = 1 << 20

    private let file: GzipFile
    private let format: Format
    private var buffer = [UInt8](repeating: 0, count: 1 << 18)
    private var position = 0
    private var end = 0
    private var isFirst = true
    private var line = 1

    init(_ path: String, format: Format) throws(PredictorError) {
        file = try GzipFile(path)
        self.format = format
    }

    /// Reads the next record that is not an empty line; false at the end of the file.
    mutating func next(_ record: inout Record) throws(PredictorError) -> Bool {
        let delimiter = format.delimiter
        let quoting = format == .csv
        record.bytes.removeAll(keepingCapacity: true)
        record.ends.removeAll(keepingCapacity: true)
        record.line = line
        var isQuoted = false
        var sawQuote = false
        while let byte = try nextByte() {
            if isQuoted {
                if byte != quote {
                    if byte == newline { line += 1 }
                    try append(byte, to: &record)
                } else if try peek() == quote {
                    position += 1
                    try append(byte, to: &record)
                } else {
                    isQuoted = false
                }
                continue
            }
            switch byte {
            case delimiter:
                record.ends.append(record.bytes.count)
            case newline:
                line += 1
                if record.bytes.last == carriageReturn, !sawQuote || record.ends.count > 0 {
                    record.bytes.removeLast()
                }
                if record.bytes.isEmpty && record.ends.isEmpty && !sawQuote {
                    record.line = line
                    continue
                }
                record.ends.append(record.bytes.count)
                return true
            case quote where quoting && record.bytes.count == (record.ends.last ?? 0):
                isQuoted = true
                sawQuote = true
            default:
                try append(byte, to: &record)
            }
        }
        if isQuoted {
            throw .input("\(file.path), line \(record.line): a quote is opened and never closed")
        }
        if record.bytes.last == carriageReturn { record.bytes.removeLast() }
        guard !record.bytes.isEmpty || !record.ends.isEmpty || sawQuote else { return false }
        record.ends.append(record.bytes.count)
        return true
    }

    private func append(_ byte: UInt8, to record: inout Record) throws(PredictorError) {
        record.bytes.append(byte)
        if record.bytes.count > Self.longestRecord {
            throw .input(
                "\(file.path), line \(record.line): a record is longer than 1 MiB",
                hint: "look for a quote that is opened and never closed"
            )
        }
    }

    private mutating func nextByte() throws(PredictorError) -> UInt8? {
        guard let byte = try peek() else { return nil }
        position += 1
        return byte
    }

    private mutating func peek() throws(PredictorError) -> UInt8? {
        if position == end {
            position = 0
            end = try file.read(into: &buffer)
            // Spreadsheets put a byte order mark in front of UTF-8.
            if isFirst && buffer[..<end].starts(with: [0xef, 0xbb, 0xbf]) { position = 3 }
            isFirst = false
            if end == position { return nil }
        }
        return buffer[position]
    }
}

private let quote = UInt8(ascii: "\"")
private let newline = UInt8(ascii: "\n")
private let carriageReturn = UInt8(ascii: "\r")
