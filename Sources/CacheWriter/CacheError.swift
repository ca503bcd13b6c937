// SPDX-License-Identifier: Apache-2.0

/// What Redis would not do, in words for a person.
package enum CacheError: Error, CustomStringConvertible, Equatable {
    /// The server cannot be reached, or the connection broke.
    case unreachable(String)
    /// The server answered with an error.
    case refused(String)
    /// What is in Redis is not what was written.
    case damaged(String)
    /// The pointer was moved by someone with a later claim.
    case fenced(String)

    /// Redis is at its maxmemory.
    package var isFull: Bool {
        if case .refused(let words) = self { words.hasPrefix("OOM") } else { false }
    }

    package var description: String {
        switch self {
        case .unreachable(let why): "Redis cannot be reached: \(why)"
        case .refused(let words):
            (isFull ? "Redis is out of memory: " : "Redis refused a command: ") + words
                + (Self.hint(words).map { "\nhint: \($0)" } ?? "")
        case .damaged(let what): what
        case .fenced(let what): what
        }
    }

    /// What to do about an error that starts with one of Redis' own words.
    private static func hint(_ words: String) -> String? {
        switch words.prefix(while: { $0 != " " }) {
        case "OOM": "raise maxmemory, or publish fewer or shorter lists (predict: k)"
        case "NOAUTH", "WRONGPASS":
            "the Redis URL holds the name and the password: redis://user:password@host:6379"
        case "NOPERM": "docs/cache.md says what Redis' user must be allowed"
        case "READONLY":
            "this is a replica: give the address of the primary, or of its Sentinels (redis+sentinel://)"
        case "LOADING": "Redis reads its files, and answers when it has them all"
        default: nil
        }
    }
}
