// SPDX-License-Identifier: Apache-2.0
private import FoundationEssentials

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

    var hasScores: Bool { self == .jsonScored || self == .packedScored }

    /// One entry of a list, as a reader sees it.
    package struct Entry: Sendable, Equatable {
        package let id: String
        package let score: Double?
    }

    /// Nil when the bytes are not a list in this format.
    package func decode(_ bytes: [UInt8]) -> [Entry]? {
        let decoder = JSONDecoder()
        switch self {
        case .json:
            return (try? decoder.decode([String].self, from: Data(bytes)))?.map {
                Entry(id: $0, score: nil)
            }
        case .jsonScored:
            return (try? decoder.decode([Pair].self, from: Data(bytes)))?.map {
                Entry(id: $0.id, score: $0.score)
            }
        case .packed, .packedScored:
            return PackedList.decode(bytes, hasScores: hasScores)
        }
    }

    private struct Pair: Decodable {
        let id: String
        let score: Double

        init(from decoder: any Decoder) throws {
            var pair = try decoder.unkeyedContainer()
            id = try pair.decode(String.self)
            score = try pair.decode(Double.self)
        }
    }
}
