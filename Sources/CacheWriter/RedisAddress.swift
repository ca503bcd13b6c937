// SPDX-License-Identifier: Apache-2.0

/// Where a Redis server is: `redis://[user:password@]host[:port][/db]` or `unix:///path[?db=n]`.
package struct RedisAddress: Sendable, Equatable {
    package var host = "127.0.0.1"
    package var port = 6379
    /// Instead of host and port.
    package var socket: String?
    package var user: String?
    package var password: String?
    package var database = 0

    /// Nil when the text is neither form; the text may hold a password and is not repeated.
    package init?(_ url: String) {
        if let path = url.stripping("unix://") {
            let parts = path.split(separator: "?", maxSplits: 1)
            guard let socket = parts.first, socket.hasPrefix("/") else { return nil }
            self.socket = String(socket)
            if parts.count == 2 {
                guard let number = String(parts[1]).stripping("db=").flatMap({ Int($0) }) else {
                    return nil
                }
                database = number
            }
            return
        }
        guard var rest = url.stripping("redis://") else { return nil }
        if let slash = rest.firstIndex(of: "/") {
            let number = rest[rest.index(after: slash)...]
            if !number.isEmpty {
                guard let number = Int(number) else { return nil }
                database = number
            }
            rest = String(rest[..<slash])
        }
        if let at = rest.lastIndex(of: "@") {
            let credentials = rest[..<at].split(
                separator: ":",
                maxSplits: 1,
                omittingEmptySubsequences: false
            )
            guard credentials.count == 2 else { return nil }
            user = credentials[0].isEmpty ? nil : String(credentials[0])
            password = String(credentials[1])
            rest = String(rest[rest.index(after: at)...])
        }
        let parts = rest.split(separator: ":", omittingEmptySubsequences: false)
        guard parts.count <= 2, let name = parts.first, !name.isEmpty else { return nil }
        host = String(name)
        if parts.count == 2 {
            guard let number = Int(parts[1]), (1...65_535).contains(number) else { return nil }
            port = number
        }
    }

    /// The text that `init` reads back; with the password, so never for people's eyes.
    package var url: String {
        if let socket { return "unix://\(socket)?db=\(database)" }
        let credentials = password.map { "\(user ?? ""):\($0)@" } ?? ""
        return "redis://\(credentials)\(host):\(port)/\(database)"
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
}
