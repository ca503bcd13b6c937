// SPDX-License-Identifier: Apache-2.0
import Foundation
import HTTPTypes
import Hummingbird

/// A page of the dashboard.
struct DashboardPage {
    var title: String
    var body: HTML
    var status = HTTPResponse.Status.ok

    /// Who looks at it.
    struct Visitor {
        /// The server has a token, so that somebody may change things here.
        let isGuarded: Bool
        /// What this browser's forms carry; nil where it may only look.
        let formToken: String?

        /// A button that changes something; nothing where the visitor may not.
        func button(
            _ label: String,
            _ path: String,
            _ fields: [(name: String, value: String)] = [],
            asking question: String? = nil
        ) -> HTML {
            guard let formToken else { return "" }
            let hidden = fields.map { name, value -> HTML in
                "<input type=\"hidden\" name=\"\(name)\" value=\"\(value)\">"
            }
            let ask: HTML = question.map { " data-confirm=\"\($0)\"" } ?? ""
            return """
                <form method="post" action="\(path)"\(ask)>\(hidden)<input type="hidden" name="form" value="\(formToken)"><button>\(label)</button></form>
                """
        }

        /// A button with a field to fill in before it.
        func field(_ label: String, _ name: String, _ action: String, _ path: String) -> HTML {
            guard let formToken else { return "" }
            return """
                <form method="post" action="\(path)"><label>\(label) <input name="\(name)" required maxlength="512"></label> <input type="hidden" name="form" value="\(formToken)"><button>\(action)</button></form>
                """
        }
    }

    func text(for visitor: Visitor) -> String {
        let page: HTML = """
            <!doctype html>
            <html lang="en">
            <head>
            <meta charset="utf-8">
            <meta name="viewport" content="width=device-width, initial-scale=1">
            <meta name="referrer" content="same-origin">
            <title>\(title) · Larder</title>
            <link rel="icon" href="data:,">
            <link rel="stylesheet" href="/dashboard.css">
            <script src="/dashboard.js" defer></script>
            </head>
            <body>
            <a class="skip" href="#main">To the content</a>
            <header class="bar"><nav aria-label="Pages"><a href="/">Larder</a> <a href="/runs">Runs</a> <a href="/jobs">Jobs</a></nav>\(visitor.button("Sign out", "/logout"))</header>
            <main id="main" tabindex="-1">
            \(body)</main>
            <footer class="soft"><p id="freshness" role="status"></p>\(hint(for: visitor))</footer>
            </body>
            </html>

            """
        return page.description
    }

    private func hint(for visitor: Visitor) -> HTML {
        guard visitor.formToken == nil else { return "" }
        return visitor.isGuarded
            ? "<p><a href=\"/login\">Sign in</a> to retry, cancel, hide and roll back here.</p>"
            : "<p>To retry, cancel, hide and roll back here, start the server with LARDER_TOKEN set.</p>"
    }

    /// Nothing from elsewhere is loaded, run, sent to, or framed.
    static let headers: HTTPFields = [
        .contentType: "text/html; charset=utf-8",
        .cacheControl: "no-store",
        .contentSecurityPolicy:
            "default-src 'none'; style-src 'self' 'unsafe-inline'; script-src 'self'; connect-src 'self'; img-src data:; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
        .xContentTypeOptions: "nosniff",
    ]
}

extension HTTPFields {
    /// One that has no name in the library.
    subscript(named name: String) -> String? { HTTPField.Name(name).flatMap { self[$0] } }
}

extension HTML {
    /// A part of a page that its script keeps up to date, while `isChanging`.
    static func live(_ id: String, if isChanging: Bool = true, _ body: HTML) -> HTML {
        isChanging
            ? "<div id=\"\(id)\" data-live>\n\(body)</div>\n"
            : "<div id=\"\(id)\">\n\(body)</div>\n"
    }

    /// A link; the parts of its path and what it asks are escaped here.
    static func link(_ words: String, _ parts: [String], _ query: [String: String] = [:]) -> HTML {
        "<a href=\"\(path(parts, query))\">\(words)</a>"
    }

    static func path(_ parts: [String], _ query: [String: String] = [:]) -> String {
        let pairs = query.sorted { $0.key < $1.key }.map { "\(escaped($0))=\(escaped($1))" }
        let rest = pairs.isEmpty ? "" : "?" + pairs.joined(separator: "&")
        return parts.map { "/" + escaped($0) }.joined() + rest
    }

    private static func escaped(_ text: String) -> String {
        text.addingPercentEncoding(withAllowedCharacters: .unreserved) ?? ""
    }

    /// A state in a colour that goes with it.
    static func state(_ state: String) -> HTML {
        switch state {
        case "failed", "cancelled", "cancelling", "paused":
            "<strong class=\"bad\">\(state)</strong>"
        case "running", "live": "<strong class=\"good\">\(state)</strong>"
        case "succeeded": "<span class=\"good\">\(state)</span>"
        default: "<span class=\"soft\">\(state)</span>"
        }
    }

    static func progress(_ fraction: Double, _ label: String) -> HTML {
        let share = String(format: "%.3f", min(1, max(0, fraction)))
        return "<progress max=\"1\" value=\"\(share)\" aria-label=\"\(label)\"></progress>"
    }
}

extension CharacterSet {
    /// Of RFC 3986: everything else means something in some part of a URL.
    static let unreserved = CharacterSet(
        charactersIn: "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~"
    )
}
