// SPDX-License-Identifier: Apache-2.0

/// How the lists of a release are stored.
package enum ListLayout: Sendable, Equatable {
    /// Each under a key of its own.
    case keys
    /// In so many hashes, each with some of them.
    ///
    /// Redis keeps a key, an entry of its table and an expiry for each key, and a small hash in one piece of
    /// memory (a listpack): of sixteen lists that are not long that saves nearly half.
    case buckets(Int)
    /// Each under a key that all such releases of a feed share, and overwrites the one of the release before.
    case inPlace

    /// How many lists a hash has, on average; of more, Redis would search through longer for each.
    private static let perBucket = 16

    /// So many lists in hashes.
    package static func compact(_ lists: Int) -> ListLayout { .buckets(max(1, lists / perBucket)) }

    /// What a release's description has of it.
    static let fields = ["buckets", "lists"]
    /// What stands in the place of a release's number in the names of keys that are overwritten.
    static let shared = "live"

    /// Of the values of the fields.
    init(_ values: ArraySlice<Reply>) {
        let texts = values.map(\.text)
        if texts[1] != nil {
            self = .inPlace
        } else {
            self = texts[0].flatMap { Int($0) }.map { .buckets($0) } ?? .keys
        }
    }

    /// The fields with their values.
    var described: [String] {
        switch self {
        case .keys: []
        case .buckets(let count): ["buckets", String(count)]
        case .inPlace: ["lists", Self.shared]
        }
    }
}
