// SPDX-License-Identifier: Apache-2.0

/// What a service gets for an id.
package struct Lookup: Sendable {
    /// Whose list it is: the first of these that there is.
    package enum Source: String, Sendable, Encodable {
        /// The id's own.
        case list
        /// Of the group of users that the reader named.
        case segment
        /// Of the category that the reader named.
        case category
        /// Of everybody.
        case `default`
    }

    package let release: Int
    /// Of the split that is running, where the id falls into one.
    package let arm: String?
    package let source: Source
    package let key: String
    package var entries: [ListFormat.Entry]
    /// How many entries the feed's lists have.
    package let k: Int
    package let hasScores: Bool
    /// What the feed's lists are for: `users`, `items`, `sessions` or `items-of-users`.
    package let listsFor: String
    /// Another where the same question may have another answer.
    package let version: String
}
