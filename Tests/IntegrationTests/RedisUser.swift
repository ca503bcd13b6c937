// SPDX-License-Identifier: Apache-2.0
import CacheWriter
import Foundation

/// The users that docs/cache.md makes.
enum RedisUser: String {
    case writer = "larder-writer"
    case reader = "larder-reader"

    private static let password = "p%w@d"

    /// The commands of docs/cache.md that make them, with a password.
    static func documented() throws -> [[String]] {
        let text = try String(contentsOfFile: "docs/cache.md", encoding: .utf8)
        return text.split(separator: "\n").filter { $0.contains("ACL SETUSER") }.map { line in
            line.replacing("PASSWORD", with: password).split(separator: " ").map(String.init)
        }
    }

    func url(at address: RedisAddress) -> String {
        var address = address
        (address.user, address.password) = (rawValue, Self.password)
        return address.url
    }
}
