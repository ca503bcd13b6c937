// SPDX-License-Identifier: Apache-2.0

/// One parameter of a statement, in Postgres' text format; the server knows the type.
package struct Parameter: Sendable, ExpressibleByNilLiteral, ExpressibleByStringLiteral,
    ExpressibleByIntegerLiteral
{
    package let text: String?

    /// Postgres holds no U+0000, and libpq would end the text there: it becomes U+FFFD.
    package init(_ text: String?) {
        let hasNUL = text?.utf8.contains(0) == true
        self.text = hasNUL ? text?.replacing("\0", with: "\u{FFFD}") : text
    }
    package init(_ value: Int) { text = String(value) }
    package init(_ value: Int?) { text = value.map { String($0) } }
    package init(_ value: Double?) { text = value.map { String($0) } }
    package init(_ value: Bool) { text = value ? "t" : "f" }
    package init(_ value: Duration) { text = "\(value / .milliseconds(1)) milliseconds" }
    package init(_ value: Duration?) { text = value.flatMap { Parameter($0).text } }
    package init(nilLiteral: ()) { text = nil }
    package init(stringLiteral value: String) { self.init(value) }
    package init(integerLiteral value: Int) { text = String(value) }

    /// A Postgres array; for `unnest`, which turns a batch of rows into one statement.
    package static func array(_ values: [Int]) -> Parameter {
        Parameter("{" + values.map { String($0) }.joined(separator: ",") + "}")
    }

    package static func array(_ values: [Double?]) -> Parameter {
        Parameter("{" + values.map { $0.map { String($0) } ?? "NULL" }.joined(separator: ",") + "}")
    }

    package static func array(_ values: [String?]) -> Parameter {
        var bytes: [UInt8] = [UInt8(ascii: "{")]
        for value in values {
            if bytes.count > 1 { bytes.append(UInt8(ascii: ",")) }
            guard let value else {
                bytes.append(contentsOf: "NULL".utf8)
                continue
            }
            bytes.append(UInt8(ascii: "\""))
            for byte in value.utf8 {
                if byte == UInt8(ascii: "\"") || byte == UInt8(ascii: "\\") {
                    bytes.append(UInt8(ascii: "\\"))
                }
                bytes.append(byte)
            }
            bytes.append(UInt8(ascii: "\""))
        }
        bytes.append(UInt8(ascii: "}"))
        return Parameter(String(decoding: bytes, as: UTF8.self))
    }
}
