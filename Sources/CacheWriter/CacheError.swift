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
        case .refused(let words) where words.hasPrefix("OOM"):
            """
            Redis is out of memory: \(words)
            hint: raise maxmemory, or publish fewer or shorter lists (predict: k)
            """
        case .refused(let words): "Redis refused a command: \(words)"
        case .damaged(let what): what
        case .fenced(let what): what
        }
    }
}
