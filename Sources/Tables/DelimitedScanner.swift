// SPDX-License-Identifier: Apache-2.0
private import Glibc

/// CSV (RFC 4180: quotes, doubled quotes, line breaks inside quotes, CRLF or LF) or TSV (no
/// quoting).
struct DelimitedScanner: RecordScanner {
    let delimiter: UInt8
    let quoting: Bool

    static let csv = DelimitedScanner(delimiter: UInt8(ascii: ","), quoting: true)
    static let tsv = DelimitedScanner(delimiter: UInt8(ascii: "\t"), quoting: false)

    func wholeRecords(in bytes: UnsafeRawBufferPointer) -> Int {
        guard let base = bytes.baseAddress, bytes.count > 0 else { return 0 }
        let hasQuotes = unsafe quoting && memchr(base, Int32(quote), bytes.count) != nil
        guard hasQuotes else {
            return unsafe endOfLastLine(in: bytes)
        }
        var end = 0
        var at = 0
        // Quotes count only where a field begins, as in `next`.
        while at < bytes.count {
            if unsafe bytes[at] == quote {
                at += 1
                while true {
                    guard let close = unsafe memchr(base + at, Int32(quote), bytes.count - at)
                    else { return end }
                    at = unsafe UnsafeRawPointer(close) - base + 1
                    guard at < bytes.count, unsafe bytes[at] == quote else { break }
                    at += 1
                }
            }
            while at < bytes.count, unsafe bytes[at] != delimiter && bytes[at] != newline {
                at += 1
            }
            guard at < bytes.count else { return end }
            at += 1
            if unsafe bytes[at - 1] == newline { end = at }
        }
        return end
    }

    func next(
        in bytes: UnsafeMutableRawBufferPointer,
        _ position: inout Int,
        _ line: inout Int,
        _ fields: inout Fields
    ) -> Scan {
        fields.removeAll()
        let end = bytes.count
        var at = position
        // Empty lines are no records.
        while at < end {
            if unsafe bytes[at] == newline {
                at += 1
            } else if unsafe bytes[at] == carriageReturn && at + 1 < end && bytes[at + 1] == newline
            {
                at += 2
            } else {
                break
            }
            line += 1
        }
        guard at < end else {
            position = end
            return .end
        }
        let firstLine = line
        while true {
            let start = at
            var fieldEnd: Int
            if quoting, at < end, unsafe bytes[at] == quote {
                guard let closed = unsafe unquote(bytes, &at, &line) else {
                    position = end
                    return .openQuote(line: firstLine)
                }
                fieldEnd = closed
            } else {
                while at < end, unsafe bytes[at] != delimiter && bytes[at] != newline { at += 1 }
                fieldEnd = at
                if unsafe fieldEnd > start && isRecordEnd(bytes, at)
                    && bytes[fieldEnd - 1] == carriageReturn
                {
                    fieldEnd -= 1
                }
            }
            fields.append(start, fieldEnd)
            let isLast = unsafe isRecordEnd(bytes, at)
            if at < end { at += 1 }
            if isLast {
                line += 1
                position = at
                return .record(line: firstLine)
            }
        }
    }

    /// Moves the text of a quoted field to where the field starts; returns where it then ends, or
    /// nil if the quote is never closed.
    private func unquote(
        _ bytes: UnsafeMutableRawBufferPointer,
        _ at: inout Int,
        _ line: inout Int
    ) -> Int? {
        var write = at
        at += 1
        while true {
            guard at < bytes.count else { return nil }
            let byte = unsafe bytes[at]
            at += 1
            if byte == quote {
                guard at < bytes.count, unsafe bytes[at] == quote else { break }
                at += 1
            } else if byte == newline {
                line += 1
            }
            unsafe bytes[write] = byte
            write += 1
        }
        // What stands behind the closing quote belongs to the field all the same.
        while at < bytes.count, unsafe bytes[at] != delimiter && bytes[at] != newline {
            unsafe bytes[write] = unsafe bytes[at]
            write += 1
            at += 1
        }
        if unsafe isRecordEnd(bytes, at) && bytes[at - 1] == carriageReturn { write -= 1 }
        return write
    }

    private func isRecordEnd(_ bytes: UnsafeMutableRawBufferPointer, _ at: Int) -> Bool {
        unsafe at == bytes.count || bytes[at] == newline
    }
}

func endOfLastLine(in bytes: UnsafeRawBufferPointer) -> Int {
    var end = bytes.count
    while end > 0, unsafe bytes[end - 1] != newline { end -= 1 }
    return end
}

let quote = UInt8(ascii: "\"")
let newline = UInt8(ascii: "\n")
let carriageReturn = UInt8(ascii: "\r")
