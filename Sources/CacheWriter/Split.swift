// SPDX-License-Identifier: Apache-2.0

/// Shares of a feed's ids that read different releases: `salt A=42:90 B=live:10`.
///
/// Of an id, the first 32 bits of the SHA-1 of `salt:id` say where it falls among the shares, so it
/// stays where it is for as long as the salt does, and no two salts divide alike.
package struct Split: Sendable, Equatable {
    package struct Arm: Sendable, Equatable {
        package let name: String
        /// Nil of one that follows the pointer.
        package let release: Int?
        package let share: Int

        /// `A=42:90`; nil when it is no such thing.
        package init?(_ text: some StringProtocol) {
            guard
                let match = String(text).wholeMatch(
                    of: /([A-Za-z0-9_-]{1,32})=(live|\d{1,9}):(\d{1,6})/
                ),
                let share = Int(match.3), share > 0
            else { return nil }
            name = String(match.1)
            release = Int(match.2)
            self.share = share
        }

        package var text: String { "\(name)=\(release.map { "\($0)" } ?? "live"):\(share)" }
    }

    package let salt: String
    package let arms: [Arm]

    /// Nil without two arms of different names, or with a salt that is not a word.
    package init?(salt: String, arms: [Arm]) {
        guard arms.count > 1, Set(arms.map(\.name)).count == arms.count, Self.isSalt(salt) else {
            return nil
        }
        self.salt = salt
        self.arms = arms
    }

    /// As `text` has it.
    package init?(_ text: String) {
        let words = text.split(separator: " ")
        let arms = words.dropFirst().compactMap { Arm($0) }
        guard let salt = words.first, arms.count == words.count - 1 else { return nil }
        self.init(salt: String(salt), arms: arms)
    }

    package static func isSalt(_ text: String) -> Bool {
        text.wholeMatch(of: /[A-Za-z0-9._-]{1,64}/) != nil
    }

    package var text: String { ([salt] + arms.map(\.text)).joined(separator: " ") }

    package func arm(of id: String) -> Arm {
        let hash = IDHash.of("\(salt):\(id)".utf8)
        let total = arms.reduce(0) { $0 + $1.share }
        var place = (hash * total) >> 32
        for arm in arms {
            if place < arm.share { return arm }
            place -= arm.share
        }
        return arms[0]
    }
}
