// SPDX-License-Identifier: Apache-2.0
private import Foundation

/// Where Redis is, and who asks.
///
/// - `redis://[[user]:password@]host[:port][,host[:port]…][/db]`: a server, or some servers of a cluster, which
///   name the others
/// - `redis+sentinel://[[user]:password@]host[:port][,…]/name[/db]`: Sentinels, which know the primary by a name
/// - `unix://[[user]:password@]/path[?db=n]`
///
/// As in other URLs, `%40` in a name or a password is an `@`.
package struct RedisAddress: Sendable, Equatable {
    /// Who is asked first; one, or whichever of them answers.
    package private(set) var endpoints: [RedisEndpoint]
    /// What the Sentinels, which `endpoints` are then, call the primary.
    package private(set) var primary: String?
    package var user: String?
    package var password: String?
    package private(set) var database = 0

    /// Why a text is no address; the text may hold a password and is not repeated.
    package enum Problem: Error {
        case isMalformed
        /// Debian's hiredis, 0.14, has no TLS.
        case wantsTLS
    }

    package init(socket: String) { endpoints = [.socket(socket)] }

    package init(_ url: String) throws(Problem) {
        endpoints = []
        if url.hasPrefix("rediss://") { throw .wantsTLS }
        if let rest = url.stripping("unix://") {
            try takeSocket(rest)
        } else if let rest = url.stripping("redis://") {
            let parts = try takeServers(rest, port: 6379)
            guard parts.count < 2 else { throw .isMalformed }
            try takeDatabase(parts.first)
        } else if let rest = url.stripping("redis+sentinel://") {
            let parts = try takeServers(rest, port: 26_379)
            guard parts.count < 3,
                let name = parts.first.map({ String($0).removingPercentEncoding }),
                let name, !name.isEmpty
            else { throw .isMalformed }
            primary = name
            try takeDatabase(parts.dropFirst().first)
        } else {
            throw .isMalformed
        }
    }

    private mutating func takeSocket(_ text: String) throws(Problem) {
        guard let slash = text.firstIndex(of: "/") else { throw .isMalformed }
        let path = text[slash...]
        guard try takeCredentials(String(text[..<slash])).isEmpty else { throw .isMalformed }
        let parts = path.split(separator: "?", maxSplits: 1)
        endpoints = [.socket(String(parts[0]))]
        if parts.count == 2 {
            guard let text = String(parts[1]).stripping("db=") else { throw .isMalformed }
            database = try Self.number(text)
        }
    }

    /// Takes credentials and servers, and returns what stands between the slashes behind them.
    private mutating func takeServers(
        _ text: String,
        port: Int
    ) throws(Problem) -> ArraySlice<Substring> {
        let parts = try takeCredentials(text).split(
            separator: "/",
            omittingEmptySubsequences: false
        )
        for server in parts[0].split(separator: ",", omittingEmptySubsequences: false) {
            endpoints.append(try Self.server(server, port: port))
        }
        return parts.dropFirst()
    }

    private mutating func takeDatabase(_ text: Substring?) throws(Problem) {
        if let text, !text.isEmpty { database = try Self.number(text) }
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
    private static func server(_ text: Substring, port usual: Int) throws(Problem) -> RedisEndpoint
    {
        let host: Substring
        let rest: Substring
        if text.hasPrefix("[") {
            guard let end = text.firstIndex(of: "]") else { throw .isMalformed }
            host = text[text.index(after: text.startIndex)..<end]
            rest = text[text.index(after: end)...]
        } else {
            let end = text.firstIndex(of: ":") ?? text.endIndex
            host = text[..<end]
            rest = text[end...]
        }
        guard !host.isEmpty else { throw .isMalformed }
        if rest.isEmpty { return .tcp(host: String(host), port: usual) }
        guard rest.hasPrefix(":") else { throw .isMalformed }
        let port = try number(rest.dropFirst())
        guard (1...65_535).contains(port) else { throw .isMalformed }
        return .tcp(host: String(host), port: port)
    }

    private static func number(_ text: some StringProtocol) throws(Problem) -> Int {
        guard let number = Int(text), number >= 0 else { throw .isMalformed }
        return number
    }

    /// The path of the socket, where it is one.
    package var socket: String? {
        if case .socket(let path) = endpoints.first { path } else { nil }
    }

    /// The text that `init` reads back; with the password, so never for people's eyes.
    package var url: String {
        let credentials =
            password.map { "\((user ?? "").percentEncoded):\($0.percentEncoded)@" } ?? ""
        if let socket { return "unix://\(credentials)\(socket)?db=\(database)" }
        let servers = endpoints.map(\.description).joined(separator: ",")
        guard let primary else { return "redis://\(credentials)\(servers)/\(database)" }
        return "redis+sentinel://\(credentials)\(servers)/\(primary.percentEncoded)/\(database)"
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
