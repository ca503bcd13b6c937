// SPDX-License-Identifier: Apache-2.0

/// A comparison of one column: `rating >= 4`, `event == purchase`, `event in view, cart`.
///
/// Numbers are compared as numbers when every value is one, else texts are compared.
package struct Condition: Sendable, Codable, Equatable, CustomStringConvertible {
    package enum Comparison: String, Sendable, Codable, CaseIterable {
        // Longer ones first: ">=" is not ">" and "=".
        case atLeast = ">="
        case atMost = "<="
        case equal = "=="
        case unequal = "!="
        case above = ">"
        case below = "<"
        case among = "in"
    }

    package let column: String
    package let comparison: Comparison
    package let values: [String]

    package init(_ column: String, _ comparison: Comparison, _ value: String) {
        (self.column, self.comparison, values) = (column, comparison, [value])
    }

    /// Nil if the text is no comparison.
    package init?(_ text: String) {
        let words = text.split(separator: " ", maxSplits: 2, omittingEmptySubsequences: true)
        guard words.count == 3, let comparison = Comparison(rawValue: String(words[1])) else {
            return nil
        }
        let values =
            comparison == .among
            ? words[2].split(separator: ",").map { Self.trimmed($0) } : [Self.trimmed(words[2])]
        guard !values.isEmpty, values.allSatisfy({ !$0.isEmpty }) else { return nil }
        let isOrder = ![.equal, .unequal, .among].contains(comparison)
        guard !isOrder || Double(values[0]) != nil else { return nil }
        column = String(words[0])
        self.comparison = comparison
        self.values = values
    }

    package var description: String {
        "\(column) \(comparison.rawValue) \(values.joined(separator: ", "))"
    }

    package var isNumeric: Bool { values.allSatisfy { Double($0) != nil } }

    /// The comparison of numbers; false for NaN, which is what a missing value is.
    func numberTest() -> @Sendable (Float) -> Bool {
        let numbers = values.compactMap { Float($0) }
        let value = numbers[0]
        return switch comparison {
        case .atLeast: { $0 >= value }
        case .atMost: { $0 <= value }
        case .equal: { $0 == value }
        case .unequal: { $0 < value || $0 > value }
        case .above: { $0 > value }
        case .below: { $0 < value }
        case .among: { numbers.contains($0) }
        }
    }

    func holds(for text: String) -> Bool {
        values.contains(text) != (comparison == .unequal)
    }

    private static func trimmed(_ text: some StringProtocol) -> String {
        var text = text[...]
        while let first = text.first, first.isWhitespace || "'\"".contains(first) {
            text = text.dropFirst()
        }
        while let last = text.last, last.isWhitespace || "'\"".contains(last) {
            text = text.dropLast()
        }
        return String(text)
    }
}
