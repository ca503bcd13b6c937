// SPDX-License-Identifier: Apache-2.0

/// How one list is written in Redis; docs/cache.md shows the bytes.
package enum ListFormat: String, Sendable, Codable, CaseIterable {
    /// `["50","172"]`: the caller's own ids, best first.
    case json
    /// `[["50",0.934],["172",0.911]]`: ids with scores.
    case jsonScored = "json-scored"
    /// Numbers where all ids of the catalogue are numbers, and texts otherwise; see `PackedList`.
    case packed
    /// The same, and scores in half precision.
    case packedScored = "packed-scored"

    package var hasScores: Bool { self == .jsonScored || self == .packedScored }
    var isPacked: Bool { self == .packed || self == .packedScored }

    /// One entry of a list, as a reader sees it.
    package struct Entry: Sendable, Equatable {
        package let id: String
        package let score: Double?

        package init(id: String, score: Double?) {
            self.id = id
            self.score = score
        }
    }

    /// Nil when the bytes are not a list in this format.
    package func decode(_ bytes: [UInt8]) -> [Entry]? {
        switch self {
        case .json, .jsonScored: JSONList.decode(bytes, hasScores: hasScores)
        case .packed, .packedScored: PackedList.decode(bytes, hasScores: hasScores)
        }
    }
}
