// SPDX-License-Identifier: Apache-2.0

/// What a service gets for an id.
package struct Lookup: Sendable {
    /// Whose list it is: the first of these that there is.
    package enum Source: String, Sendable, Encodable, CaseIterable {
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
    package let entries: [ListFormat.Entry]
}
