// SPDX-License-Identifier: Apache-2.0
private import FoundationEssentials

/// How one list is written in Redis; docs/cache.md shows the bytes.
package enum ListFormat: String, Sendable, Codable, CaseIterable {
    /// `["50","172"]`: the caller's own ids, best first.
    case json
    /// `[["50",0.934],["172",0.911]]`: ids with scores.
    case jsonScored = "json-scored"

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

/// Encodes lists over one catalogue; every id is quoted once, not once a list.
package struct ListEncoder: Sendable {
    package let format: ListFormat
    private let quoted: [[UInt8]]

    /// `ids`: the catalogue; lists name items by their place in it.
    package init(_ format: ListFormat, ids: some Sequence<String>) {
        self.format = format
        quoted = ids.map(Self.quote)
    }

    package func encode(
        _ items: some Sequence<Int32>,
        scores: some Collection<Float>
    ) -> [UInt8] {
        var bytes: [UInt8] = [UInt8(ascii: "[")]
        var score = scores.startIndex
        for item in items {
            if bytes.count > 1 { bytes.append(UInt8(ascii: ",")) }
            switch format {
            case .json:
                bytes.append(contentsOf: quoted[Int(item)])
            case .jsonScored:
                bytes.append(UInt8(ascii: "["))
                bytes.append(contentsOf: quoted[Int(item)])
                bytes.append(UInt8(ascii: ","))
                bytes.append(contentsOf: Self.number(scores[score]).utf8)
                bytes.append(UInt8(ascii: "]"))
                scores.formIndex(after: &score)
            }
        }
        bytes.append(UInt8(ascii: "]"))
        return bytes
    }

    /// The shortest text that reads back as the same Float; JSON has no infinities.
    private static func number(_ score: Float) -> String {
        score.isFinite ? "\(score)" : "0"
    }

    private static func quote(_ id: String) -> [UInt8] {
        var bytes: [UInt8] = [UInt8(ascii: "\"")]
        for byte in id.utf8 {
            switch byte {
            case UInt8(ascii: "\""), UInt8(ascii: "\\"):
                bytes.append(UInt8(ascii: "\\"))
                bytes.append(byte)
            case 0..<0x20:
                let hex = String(byte, radix: 16)
                bytes.append(contentsOf: (byte < 16 ? "\\u000" : "\\u00").utf8)
                bytes.append(contentsOf: hex.utf8)
            default:
                bytes.append(byte)
            }
        }
        bytes.append(UInt8(ascii: "\""))
        return bytes
    }
}
