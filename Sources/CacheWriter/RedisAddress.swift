// SPDX-License-Identifier: Apache-2.0
private import Foundation

/// Where a Redis server is, and who asks: `redis://[[user]:password@]host[:port][/db]`, or
/// `unix://[[user]:password@]/path[?db=n]`.
///
/// As in other URLs, `%40` in a name or a password is an `@`.
package struct RedisAddress: Sendable, Equatable {
    package var host = "127.0.0.1"
    package var port = 6379
    /// Instead of host and port.
    package var socket: String?
    package var user: String?
    package var password: String?
    package var database = 0

    /// Why a text is no address; the text may hold a password and is not repeated.
    package enum Problem: Error {
        case isMalformed
        /// Debian's hiredis, 0.14, has no TLS.
        case wantsTLS
    }

    package init(socket: String) { self.socket = socket }

    package init(_ url: String) throws(Problem) {
        if url.hasPrefix("rediss://") { throw .wantsTLS }
        if let rest = url.stripping("unix://") {
            guard let slash = rest.firstIndex(of: "/") else { throw .isMalformed }
            let path = rest[slash...]
            guard try takeCredentials(String(rest[..<slash])).isEmpty else { throw .isMalformed }
            let parts = path.split(separator: "?", maxSplits: 1)
            socket = String(parts[0])
            if parts.count == 2 {
                guard let text = String(parts[1]).stripping("db=") else { throw .isMalformed }
                database = try Self.number(text)
            }
            return
        }
        guard let rest = url.stripping("redis://") else { throw .isMalformed }
        let parts = try takeCredentials(rest).split(
            separator: "/",
            maxSplits: 1,
            omittingEmptySubsequences: false
        )
        if parts.count == 2, !parts[1].isEmpty { database = try Self.number(parts[1]) }
        try takeServer(parts[0])
    }

    /// Takes what stands before the last `@`, and returns what is behind it.
    private mutating func takeCredentials(_ text: String) throws(Problem) -> Substring {
        guard let at = text.lastIndex(of: "@") else { return text[...] }
        let parts = text[..<at].split(
            separator: ":",
            maxSplits: 1,
            omittingEmptySubsequences: false
        )
        let words = parts.map { String($0).removingPercentEncoding }
        guard words.count == 2, let name = words[0], let secret = words[1] else {
            throw .isMalformed
        }
        user = name.isEmpty ? nil : name
        password = secret
        return text[text.index(after: at)...]
    }

    /// `host`, `host:port`, `[::1]` or `[::1]:port`.
    private mutating func takeServer(_ text: Substring) throws(Problem) {
        var rest = text
        if text.hasPrefix("[") {
            guard let end = text.firstIndex(of: "]") else { throw .isMalformed }
            host = String(text[text.index(after: text.startIndex)..<end])
            rest = text[text.index(after: end)...]
        } else {
            let end = text.firstIndex(of: ":") ?? text.endIndex
            host = String(text[..<end])
            rest = text[end...]
        }
        guard !host.isEmpty else { throw .isMalformed }
        if rest.isEmpty { return }
        guard rest.hasPrefix(":") else { throw .isMalformed }
        port = try Self.number(rest.dropFirst())
        guard (1...65_535).contains(port) else { throw .isMalformed }
    }

    private static func number(_ text: some StringProtocol) throws(Problem) -> Int {
        guard let number = Int(text), number >= 0 else { throw .isMalformed }
        return number
    }

    /// The text that `init` reads back; with the password, so never for people's eyes.
    package var url: String {
        let credentials =
            password.map { "\((user ?? "").percentEncoded):\($0.percentEncoded)@" } ?? ""
        if let socket { return "unix://\(credentials)\(socket)?db=\(database)" }
        let name = host.contains(":") ? "[\(host)]" : host
        return "redis://\(credentials)\(name):\(port)/\(database)"
    }

    /// Without the password.
    package var shown: String {
        socket ?? "\(host):\(port)"
    }
}

extension String {
    fileprivate func stripping(_ prefix: String) -> String? {
        hasPrefix(prefix) ? String(dropFirst(prefix.count)) : nil
    }

    fileprivate var percentEncoded: String {
        addingPercentEncoding(withAllowedCharacters: .alphanumerics) ?? self
    }
}
