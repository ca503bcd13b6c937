// SPDX-License-Identifier: Apache-2.0

/// A piece of a page: what is put into it as text is escaped, other pieces are not.
struct HTML: ExpressibleByStringInterpolation, CustomStringConvertible {
    private(set) var description: String

    init(stringLiteral text: String) { description = text }
    init(stringInterpolation: StringInterpolation) { description = stringInterpolation.text }

    struct StringInterpolation: StringInterpolationProtocol {
        fileprivate var text = ""

        init(literalCapacity: Int, interpolationCount: Int) {
            text.reserveCapacity(literalCapacity)
        }
        mutating func appendLiteral(_ literal: String) { text += literal }
        mutating func appendInterpolation(_ piece: HTML) { text += piece.description }
        mutating func appendInterpolation(_ pieces: [HTML]) {
            for piece in pieces { text += piece.description }
        }
        mutating func appendInterpolation(_ number: Int) { text += "\(number)" }
        mutating func appendInterpolation(_ string: String) {
            // By scalars: one that joins the next would hide it from a look at characters.
            for scalar in string.unicodeScalars {
                switch scalar {
                case "&": text += "&amp;"
                case "<": text += "&lt;"
                case ">": text += "&gt;"
                case "\"": text += "&quot;"
                case "'": text += "&#39;"
                default: text.unicodeScalars.append(scalar)
                }
            }
        }
    }

    /// A table with a caption; the first cell of a row names it, and `numbers` are columns of figures.
    static func table(
        _ caption: String,
        _ head: [String],
        _ rows: [[HTML]],
        numbers: Set<Int> = []
    ) -> HTML {
        func kind(_ column: Int) -> HTML { numbers.contains(column) ? " class=\"n\"" : "" }
        let heads = head.enumerated().map { column, title -> HTML in
            title.isEmpty ? "<td></td>" : "<th scope=\"col\"\(kind(column))>\(title)</th>"
        }
        let body = rows.map { row -> HTML in
            let cells = row.enumerated().map { column, cell -> HTML in
                column == 0
                    ? "<th scope=\"row\"\(kind(column))>\(cell)</th>"
                    : "<td\(kind(column))>\(cell)</td>"
            }
            return "<tr>\(cells)</tr>\n"
        }
        return """
            <div class="scroll" tabindex="0" role="region" aria-label="\(caption)"><table>
            <caption>\(caption)</caption>
            <thead><tr>\(heads)</tr></thead>
            <tbody>
            \(body)</tbody></table></div>

            """
    }

    /// Text as it stands, line by line; nothing of nothing.
    static func verbatim(_ text: String) -> HTML {
        text.isEmpty ? "" : "<pre>\(text)</pre>\n"
    }

    var isEmpty: Bool { description.isEmpty }

    static func section(_ title: String, _ body: HTML) -> HTML {
        "<section>\n<h2>\(title)</h2>\n\(body)</section>\n"
    }
}
