// SPDX-License-Identifier: Apache-2.0

/// A list in few bytes, all numbers with their lowest byte first.
///
///     byte 0      1, the version
///     byte 1      how ids are written (0: 4 bytes, 1: 8 bytes, 2: texts); 4 more with scores
///     bytes 2, 3  how many items
///     then        the ids, best first; of a text, two bytes with its length, and itself in UTF-8
///     then        the scores, IEEE 754 half precision, two bytes each
enum PackedList {
    private static let version: UInt8 = 1
    private static let scoresFlag: UInt8 = 4
    static let headerSize = 4

    /// How a catalogue's ids are written.
    enum IDs: UInt8 {
        case fourBytes = 0
        case eightBytes = 1
        case texts = 2

        /// The shortest that gives every id back as it was: `007` is no number.
        init(of ids: [String]) {
            var largest: UInt64 = 0
            for id in ids {
                guard let number = UInt64(id), String(number) == id else {
                    self = .texts
                    return
                }
                largest = max(largest, number)
            }
            self = largest <= UInt32.max ? .fourBytes : .eightBytes
        }

        func bytes(_ id: String) -> [UInt8] {
            switch self {
            case .fourBytes: PackedList.bytes(UInt32(id) ?? 0)
            case .eightBytes: PackedList.bytes(UInt64(id) ?? 0)
            case .texts: PackedList.bytes(UInt16(clamping: id.utf8.count)) + Array(id.utf8)
            }
        }
    }

    /// What stands before the ids.
    static func header(_ kind: IDs, hasScores: Bool, count: Int) -> [UInt8] {
        [version, kind.rawValue | (hasScores ? scoresFlag : 0)] + bytes(UInt16(clamping: count))
    }

    /// The nearest; what is too large is the largest there is, as an infinity would sort nothing.
    static func half(_ score: Float) -> Float16 {
        guard score.isFinite else { return 0 }
        let largest = Float(Float16.greatestFiniteMagnitude)
        return Float16(min(max(score, -largest), largest))
    }

    /// Nil when the bytes are not such a list, whole and nothing behind it.
    static func decode(_ bytes: [UInt8], hasScores: Bool) -> [ListFormat.Entry]? {
        guard bytes.count >= headerSize, bytes[0] == version,
            let kind = IDs(rawValue: bytes[1] & ~scoresFlag),
            (bytes[1] & scoresFlag != 0) == hasScores
        else { return nil }
        let count = Int(bytes[2]) | Int(bytes[3]) << 8
        var rest = bytes[headerSize...]
        func number(_ size: Int) -> UInt64? {
            guard rest.count >= size else { return nil }
            defer { rest = rest.dropFirst(size) }
            return rest.prefix(size).reversed().reduce(0) { $0 << 8 | UInt64($1) }
        }
        var ids: [String] = []
        for _ in 0..<count {
            switch kind {
            case .fourBytes, .eightBytes:
                guard let id = number(kind == .fourBytes ? 4 : 8) else { return nil }
                ids.append(String(id))
            case .texts:
                guard let length = number(2), rest.count >= length,
                    let id = String(validating: rest.prefix(Int(length)), as: UTF8.self)
                else { return nil }
                rest = rest.dropFirst(Int(length))
                ids.append(id)
            }
        }
        var entries: [ListFormat.Entry] = []
        for id in ids {
            var score: Double?
            if hasScores {
                guard let bits = number(2) else { return nil }
                score = Double(Float16(bitPattern: UInt16(bits)))
            }
            entries.append(ListFormat.Entry(id: id, score: score))
        }
        return rest.isEmpty ? entries : nil
    }

    private static func bytes(_ number: some FixedWidthInteger) -> [UInt8] {
        (0..<number.bitWidth / 8).map { UInt8(truncatingIfNeeded: number >> ($0 * 8)) }
    }
}
