// SPDX-License-Identifier: Apache-2.0
private import CLibPQ
private import Glibc

/// COPY in the text format, which every column type can read and write.
extension Connection {
    /// Streams rows into `COPY … FROM STDIN`; all of them arrive or none.
    ///
    /// Returns their number.
    package borrowing func copyIn(
        _ sql: String,
        rows: some Sequence<[String?]>
    ) throws(PostgresError) -> Int {
        _ = try execute(sql)
        var buffer: [UInt8] = []
        for row in rows {
            CopyText.encode(row, into: &buffer)
            // 64 KiB: one write of a socket buffer; more gains nothing.
            if buffer.count >= 65_536 { try send(&buffer) }
        }
        try send(&buffer)
        guard unsafe PQputCopyEnd(handle, nil) == 1 else { throw lost() }
        return try lastResult().changed
    }

    /// Streams the rows of `COPY … TO STDOUT` to `body`, one at a time.
    package borrowing func copyOut(
        _ sql: String,
        _ body: ([String?]) throws(PostgresError) -> Void
    ) throws(PostgresError) {
        _ = try execute(sql)
        while true {
            var row: UnsafeMutablePointer<CChar>?
            let length = unsafe PQgetCopyData(handle, &row, 0)
            guard length > 0, let start = unsafe row else {
                if length == -2 { throw lost() }
                break
            }
            defer { unsafe PQfreemem(start) }
            let line = unsafe UnsafeRawBufferPointer(start: start, count: Int(length))
            try body(unsafe CopyText.decode([UInt8](line)))
        }
        _ = try lastResult()
    }

    /// Asks for a `COPY … TO STDOUT` and does not wait for it: a server says that it begins when it
    /// has the first rows.
    package borrowing func sendCopyOut(_ sql: String) throws(PostgresError) {
        let sent = unsafe PQsendQueryParams(handle, sql, 0, nil, nil, nil, nil, 0)
        guard sent == 1, unsafe PQflush(handle) >= 0 else { throw lost() }
    }

    /// Whether the rows have begun to come, waiting up to `timeout` for them.
    package borrowing func hasBegunCopy(within timeout: Duration) throws(PostgresError) -> Bool {
        if unsafe PQisBusy(handle) == 1 {
            _ = try waitForSocket(Int16(POLLIN), until: .now + timeout)
            guard unsafe PQconsumeInput(handle) == 1 else { throw lost() }
            if unsafe PQisBusy(handle) == 1 { return false }
        }
        return try lastResult().startsCopy
    }

    /// Takes the next piece of a copy that has begun, waiting up to `timeout`.
    package borrowing func nextCopied(
        within timeout: Duration,
        _ body: (UnsafeRawBufferPointer) -> Void
    ) throws(PostgresError) -> Copied {
        var piece: UnsafeMutablePointer<CChar>?
        var length = unsafe PQgetCopyData(handle, &piece, 1)
        if length == 0 {
            _ = try waitForSocket(Int16(POLLIN), until: .now + timeout)
            guard unsafe PQconsumeInput(handle) == 1 else { throw lost() }
            length = unsafe PQgetCopyData(handle, &piece, 1)
        }
        if length > 0, let start = unsafe piece {
            defer { unsafe PQfreemem(start) }
            unsafe body(UnsafeRawBufferPointer(start: start, count: Int(length)))
            return .piece
        }
        if length == 0 { return .nothingYet }
        if length == -2 { throw lost() }
        _ = try lastResult()
        return .end
    }

    package enum Copied: Sendable {
        case piece
        case nothingYet
        case end
    }

    private borrowing func send(_ buffer: inout [UInt8]) throws(PostgresError) {
        let sent = unsafe buffer.withUnsafeBytes { bytes in
            unsafe PQputCopyData(
                handle,
                bytes.baseAddress?.assumingMemoryBound(to: CChar.self),
                Int32(bytes.count)
            )
        }
        guard sent == 1 else { throw lost() }
        buffer.removeAll(keepingCapacity: true)
    }
}

/// One line of COPY's text format: fields between tabs, `\N` for null, backslash escapes.
enum CopyText {
    static func encode(_ row: [String?], into buffer: inout [UInt8]) {
        for (index, field) in row.enumerated() {
            if index > 0 { buffer.append(UInt8(ascii: "\t")) }
            guard let field else {
                buffer.append(contentsOf: [UInt8(ascii: "\\"), UInt8(ascii: "N")])
                continue
            }
            for byte in field.utf8 {
                switch byte {
                case UInt8(ascii: "\\"): buffer.append(contentsOf: [byte, byte])
                case UInt8(ascii: "\t"): buffer.append(contentsOf: Array("\\t".utf8))
                case UInt8(ascii: "\n"): buffer.append(contentsOf: Array("\\n".utf8))
                case UInt8(ascii: "\r"): buffer.append(contentsOf: Array("\\r".utf8))
                default: buffer.append(byte)
                }
            }
        }
        buffer.append(UInt8(ascii: "\n"))
    }

    static func decode(_ line: [UInt8]) -> [String?] {
        var end = line.endIndex
        if line.last == UInt8(ascii: "\n") { end -= 1 }
        return line[..<end].split(
            separator: UInt8(ascii: "\t"),
            omittingEmptySubsequences: false
        ).map { field in
            if field.elementsEqual("\\N".utf8) { return nil }
            var bytes: [UInt8] = []
            var escaped = false
            for byte in field {
                if escaped {
                    bytes.append(unescaped[byte] ?? byte)
                    escaped = false
                } else if byte == UInt8(ascii: "\\") {
                    escaped = true
                } else {
                    bytes.append(byte)
                }
            }
            return String(decoding: bytes, as: UTF8.self)
        }
    }

    private static let unescaped: [UInt8: UInt8] = [
        UInt8(ascii: "b"): 8, UInt8(ascii: "f"): 12, UInt8(ascii: "n"): 10,
        UInt8(ascii: "r"): 13, UInt8(ascii: "t"): 9, UInt8(ascii: "v"): 11,
    ]
}
