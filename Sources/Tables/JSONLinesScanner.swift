// SPDX-License-Identifier: Apache-2.0
private import Glibc

/// JSON lines: an object a line (jsonlines.org), of which the values of some keys are wanted.
///
/// A string is unescaped where it stands; a number, true or false is its text; null and a key that
/// is absent are empty; an array or object is its JSON. Of a key that stands twice the last counts.
struct JSONLinesScanner: RecordScanner {
    private let keys: [[UInt8]]

    init(keys: [String]) { self.keys = keys.map { Array($0.utf8) } }

    func wholeRecords(in bytes: UnsafeRawBufferPointer) -> Int {
        unsafe endOfLastLine(in: bytes)
    }

    func next(
        in bytes: UnsafeMutableRawBufferPointer,
        _ position: inout Int,
        _ line: inout Int,
        _ fields: inout Fields
    ) -> Scan {
        while position < bytes.count, let base = bytes.baseAddress {
            let start = position
            let found = unsafe memchr(base + start, Int32(newline), bytes.count - start)
            let end = unsafe found.map { unsafe UnsafeMutableRawPointer($0) - base } ?? bytes.count
            position = min(end + 1, bytes.count)
            line += 1
            var object = unsafe JSONObject(bytes: bytes, at: start, end: end)
            object.skipSpace()
            if object.at == end { continue }
            fields.fill(keys.count)
            do throws(JSONObject.Problem) {
                try object.read(keys, into: &fields)
                return .record(line: line - 1)
            } catch {
                return .bad(line: line - 1, reason: error.reason)
            }
        }
        return .end
    }
}

/// One object, read by recursive descent.
@safe private struct JSONObject {
    struct Problem: Error {
        let reason: String
    }

    /// Deeper nesting is refused, so that no input can exhaust the stack.
    static let deepest = 64

    let bytes: UnsafeMutableRawBufferPointer
    var at: Int
    let end: Int

    init(bytes: UnsafeMutableRawBufferPointer, at: Int, end: Int) {
        unsafe self.bytes = bytes
        self.at = at
        self.end = end
    }

    mutating func skipSpace() {
        while at < end {
            switch unsafe bytes[at] {
            case 0x20, 0x09, 0x0d: at += 1
            default: return
            }
        }
    }

    mutating func read(_ keys: [[UInt8]], into fields: inout Fields) throws(Problem) {
        try expect("{", "is not a JSON object")
        skipSpace()
        if peek() == UInt8(ascii: "}") {
            at += 1
        } else {
            while true {
                skipSpace()
                let key = try string()
                skipSpace()
                try expect(":", "a key of the JSON object has no value")
                skipSpace()
                let value = try value(depth: 1)
                for (place, wanted) in keys.enumerated() where equals(key, wanted) {
                    fields.set(place, value.lowerBound, value.upperBound)
                }
                skipSpace()
                if peek() == UInt8(ascii: ",") {
                    at += 1
                    continue
                }
                try expect("}", "the JSON object is not closed")
                break
            }
        }
        skipSpace()
        guard at == end else { throw Problem(reason: "text behind the JSON object") }
    }

    private func peek() -> UInt8? { at < end ? unsafe bytes[at] : nil }

    private mutating func expect(_ byte: Unicode.Scalar, _ reason: String) throws(Problem) {
        guard peek() == UInt8(ascii: byte) else { throw Problem(reason: reason) }
        at += 1
    }

    private func equals(_ range: Range<Int>, _ key: [UInt8]) -> Bool {
        range.count == key.count && zip(range, key).allSatisfy { unsafe bytes[$0] == $1 }
    }

    /// Where the text of the value stands.
    private mutating func value(depth: Int) throws(Problem) -> Range<Int> {
        guard depth <= Self.deepest else { throw Problem(reason: "JSON nested too deep") }
        switch peek() {
        case UInt8(ascii: "\""): return try string()
        case UInt8(ascii: "{"), UInt8(ascii: "["):
            let start = at
            try skipNested(depth: depth)
            return start..<at
        default:
            let start = at
            while let byte = peek(), byte.isWordOfJSON { at += 1 }
            switch word(start..<at) {
            case "null": return start..<start
            case "true", "false": return start..<at
            case let text:
                guard Double(text) != nil, unsafe bytes[start] != UInt8(ascii: "+") else {
                    throw Problem(reason: "not a JSON value")
                }
                return start..<at
            }
        }
    }

    private func word(_ range: Range<Int>) -> String {
        unsafe String(decoding: UnsafeRawBufferPointer(bytes)[range], as: UTF8.self)
    }

    /// An array or object, left as it stands.
    private mutating func skipNested(depth: Int) throws(Problem) {
        let isObject = peek() == UInt8(ascii: "{")
        let close = UInt8(ascii: isObject ? "}" : "]")
        at += 1
        skipSpace()
        if peek() == close {
            at += 1
            return
        }
        while true {
            skipSpace()
            if isObject {
                try skipString()
                skipSpace()
                try expect(":", "a key of the JSON object has no value")
                skipSpace()
            }
            switch peek() {
            case UInt8(ascii: "\""): try skipString()
            case UInt8(ascii: "{"), UInt8(ascii: "["):
                guard depth < Self.deepest else { throw Problem(reason: "JSON nested too deep") }
                try skipNested(depth: depth + 1)
            default: _ = try value(depth: depth + 1)
            }
            skipSpace()
            if peek() == UInt8(ascii: ",") {
                at += 1
                continue
            }
            guard peek() == close else {
                throw Problem(reason: "a JSON \(isObject ? "object" : "array") is not closed")
            }
            at += 1
            return
        }
    }

    private mutating func skipString() throws(Problem) {
        try expect("\"", "a JSON string was expected")
        while let byte = peek() {
            at += 1
            if byte == quote { return }
            if byte == UInt8(ascii: "\\") { at += 1 }
        }
        throw Problem(reason: "a JSON string is not closed")
    }

    /// Unescapes a string where it stands.
    private mutating func string() throws(Problem) -> Range<Int> {
        try expect("\"", "a JSON string was expected")
        let start = at
        while let byte = peek(), byte != quote, byte != UInt8(ascii: "\\") { at += 1 }
        var write = at
        while let byte = peek() {
            at += 1
            switch byte {
            case quote: return start..<write
            case UInt8(ascii: "\\"): try unescape(&write)
            default:
                unsafe bytes[write] = byte
                write += 1
            }
        }
        throw Problem(reason: "a JSON string is not closed")
    }

    private mutating func unescape(_ write: inout Int) throws(Problem) {
        guard let byte = peek() else { throw Problem(reason: "a JSON string is not closed") }
        at += 1
        let plain: UInt8
        switch byte {
        case UInt8(ascii: "n"): plain = newline
        case UInt8(ascii: "t"): plain = 0x09
        case UInt8(ascii: "r"): plain = carriageReturn
        case UInt8(ascii: "b"): plain = 0x08
        case UInt8(ascii: "f"): plain = 0x0c
        case UInt8(ascii: "\""), UInt8(ascii: "\\"), UInt8(ascii: "/"): plain = byte
        case UInt8(ascii: "u"):
            var code = try hexadecimal()
            if (0xd800..<0xdc00).contains(code), peek() == UInt8(ascii: "\\"), at + 1 < end,
                unsafe bytes[at + 1] == UInt8(ascii: "u")
            {
                at += 2
                let low = try hexadecimal()
                guard (0xdc00..<0xe000).contains(low) else { throw Problem(reason: Self.escape) }
                code = 0x10000 + (code - 0xd800) << 10 + (low - 0xdc00)
            }
            guard let scalar = Unicode.Scalar(code) else { throw Problem(reason: Self.escape) }
            // At most four bytes, where at least six stood.
            for byte in UTF8.encode(scalar) ?? UTF8.encodedReplacementCharacter {
                unsafe bytes[write] = byte
                write += 1
            }
            return
        default: throw Problem(reason: Self.escape)
        }
        unsafe bytes[write] = plain
        write += 1
    }

    private static let escape = "an escape in a JSON string that is none"

    private mutating func hexadecimal() throws(Problem) -> UInt32 {
        guard at + 4 <= end, let code = UInt32(word(at..<at + 4), radix: 16) else {
            throw Problem(reason: Self.escape)
        }
        at += 4
        return code
    }
}

extension UInt8 {
    fileprivate var isWordOfJSON: Bool {
        switch self {
        case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
            UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "+"), UInt8(ascii: "-"),
            UInt8(ascii: "."):
            true
        default: false
        }
    }
}
