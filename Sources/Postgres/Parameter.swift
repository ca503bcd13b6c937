// SPDX-License-Identifier: Apache-2.0

/// One parameter of a statement, in Postgres' text format; the server knows the type.
package struct Parameter: Sendable, ExpressibleByNilLiteral, ExpressibleByStringLiteral,
    ExpressibleByIntegerLiteral
{
    package let text: String?

    package init(_ text: String?) { self.text = text }
    package init(_ value: Int) { text = String(value) }
    package init(_ value: Int?) { text = value.map { String($0) } }
    package init(_ value: Double?) { text = value.map { String($0) } }
    package init(_ value: Bool) { text = value ? "t" : "f" }
    package init(_ value: Duration) { text = "\(value / .milliseconds(1)) milliseconds" }
    package init(nilLiteral: ()) { text = nil }
    package init(stringLiteral value: String) { text = value }
    package init(integerLiteral value: Int) { text = String(value) }

    /// A Postgres array; for `unnest`, which turns a batch of rows into one statement.
    package static func array(_ values: [Int]) -> Parameter {
        Parameter("{" + values.map { String($0) }.joined(separator: ",") + "}")
    }

    package static func array(_ values: [Double?]) -> Parameter {
        Parameter("{" + values.map { $0.map { String($0) } ?? "NULL" }.joined(separator: ",") + "}")
    }

    package static func array(_ values: [String?]) -> Parameter {
        let quoted = values.map { value in
            guard let value else { return "NULL" }
            var text = "\""
            for character in value.unicodeScalars {
                if character == "\"" || character == "\\" { text += "\\" }
                text.unicodeScalars.append(character)
            }
            return text + "\""
        }
        return Parameter("{" + quoted.joined(separator: ",") + "}")
    }
}
