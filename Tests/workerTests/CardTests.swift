// SPDX-License-Identifier: Apache-2.0
import Jobs
import Testing

@testable import worker

struct CardTests {
    /// Whether every element that is opened is closed, in order.
    private func isNested(_ text: String) -> Bool {
        var open: [Substring] = []
        for match in text.matches(of: /<(\/?)([a-z0-9]+)[^<>]*?(\/?)>/) {
            if match.1.isEmpty {
                if match.3.isEmpty { open.append(match.2) }
            } else if open.popLast() != match.2 {
                return false
            }
        }
        return open.isEmpty
    }

    @Test func `text is escaped, pieces are not`() {
        let name = "<script>alert('&\"')</script>"
        let piece: HTML = "<b>\(name)</b>"
        #expect(
            piece.description
                == "<b>&lt;script&gt;alert(&#39;&amp;&quot;&#39;)&lt;/script&gt;</b>"
        )
        let whole: HTML = "<p>\(piece) \(7) \([piece, "!"])</p>"
        #expect(whole.description == "<p>\(piece) 7 \(piece)!</p>".description)
        #expect(HTML.verbatim("").isEmpty)
        // A scalar that joins the next hides nothing.
        let joined: HTML = "\("\u{600}<img>\u{301}")"
        #expect(!joined.description.unicodeScalars.contains("<"))
    }

    @Test func `a table names its rows, and is well formed`() throws {
        let table = HTML.table("a & b", ["", "n<"], [["x", "1"], ["y", "2"]], numbers: [1])
        #expect(isNested(table.description))
        #expect(table.description.contains("<th scope=\"row\">x</th><td class=\"n\">1</td>"))
    }

    @Test func `curves are drawn within their axes, whatever the numbers`() throws {
        let points = [(10, 3.0), (20, .nan), (30, -1.0)].map {
            Runs.Point(step: $0.0, value: $0.1)
        }
        let finite = points.filter(\.value.isFinite)
        let drawn = CardCharts.curves("loss", [("a", finite), ("b", [points[0]])])
        #expect(isNested(drawn.description))
        #expect(drawn.description.contains("loss: a from 3 to -1"))
        #expect(!drawn.description.contains("nan"))
        // One point is no curve.
        #expect(CardCharts.curves("loss", [("b", [points[0]])]).isEmpty)
        #expect(CardCharts.timeline([]).isEmpty)
    }
}
