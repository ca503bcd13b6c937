// SPDX-License-Identifier: Apache-2.0

/// FNV-1a, 64 bits: enough to notice that a list in Redis is not the list that was written.
package struct Fingerprint: Sendable, Codable, Equatable {
    private let hash: UInt64

    package init(_ bytes: [UInt8]) {
        hash = bytes.reduce(0xcbf2_9ce4_8422_2325) { ($0 ^ UInt64($1)) &* 0x0000_0100_0000_01b3 }
    }

    package init(from decoder: any Decoder) throws {
        let text = try decoder.singleValueContainer().decode(String.self)
        guard let hash = UInt64(text, radix: 16) else {
            throw DecodingError.dataCorrupted(
                .init(codingPath: decoder.codingPath, debugDescription: "not a fingerprint")
            )
        }
        self.hash = hash
    }

    package func encode(to encoder: any Encoder) throws {
        var container = encoder.singleValueContainer()
        try container.encode(String(hash, radix: 16))
    }
}
