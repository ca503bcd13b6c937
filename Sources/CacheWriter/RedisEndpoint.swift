// SPDX-License-Identifier: Apache-2.0

/// Where one server listens.
package enum RedisEndpoint: Hashable, Sendable, CustomStringConvertible {
    case socket(String)
    case tcp(host: String, port: Int)

    package var description: String {
        switch self {
        case .socket(let path): path
        case .tcp(let host, let port): host.contains(":") ? "[\(host)]:\(port)" : "\(host):\(port)"
        }
    }

    /// As the servers of a cluster name each other, `host:port`; where they do not know the host, it is that of the one who says it.
    init?(_ text: Substring, saidBy other: RedisEndpoint) {
        guard let colon = text.lastIndex(of: ":"),
            let port = Int(text[text.index(after: colon)...])
        else { return nil }
        self.init(host: String(text[..<colon]), port: port, saidBy: other)
    }

    init(host: String, port: Int, saidBy other: RedisEndpoint) {
        let isKnown = !host.isEmpty && host != "?"
        if case .tcp(let known, _) = other, !isKnown {
            self = .tcp(host: known, port: port)
        } else {
            self = .tcp(host: isKnown ? host : "127.0.0.1", port: port)
        }
    }
}
