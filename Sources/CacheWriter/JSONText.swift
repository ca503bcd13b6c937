// SPDX-License-Identifier: Apache-2.0

/// JSON's strings and numbers, for what is written too often for Foundation's encoder.
package enum JSONText {
    /// The shortest text that reads back as the same Float; JSON has no infinities.
    package static func number(_ score: Float) -> String {
        score.isFinite ? "\(score)" : "0"
    }

    /// A string in quotes: quotes, backslashes and control characters are escaped.
    package static func quote(_ id: String) -> [UInt8] {
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
