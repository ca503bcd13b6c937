// SPDX-License-Identifier: Apache-2.0
private import FoundationEssentials

/// Lists in JSON, as `ListEncoder` writes them.
enum JSONList {
    /// Nil when the bytes are no such list.
    ///
    /// Foundation's decoder, much slower, is asked where there are escapes, spaces, or anything else
    /// that `ListEncoder` would not write.
    static func decode(_ bytes: [UInt8], hasScores: Bool) -> [ListFormat.Entry]? {
        var scanner = Scanner(bytes)
        if let entries = scanner.entries(hasScores: hasScores) { return entries }
        let decoder = JSONDecoder()
        if hasScores {
            return (try? decoder.decode([Pair].self, from: Data(bytes)))?.map {
                ListFormat.Entry(id: $0.id, score: $0.score)
            }
        }
        return (try? decoder.decode([String].self, from: Data(bytes)))?.map {
            ListFormat.Entry(id: $0, score: nil)
        }
    }

    struct Pair: Decodable {
        let id: String
        let score: Double

        init(from decoder: any Decoder) throws {
            var pair = try decoder.unkeyedContainer()
            id = try pair.decode(String.self)
            score = try pair.decode(Double.self)
        }
    }

    /// Reads what is written plainly, and gives up on everything else.
    private struct Scanner {
        private let bytes: [UInt8]
        private var place = 0

        init(_ bytes: [UInt8]) { self.bytes = bytes }

        mutating func entries(hasScores: Bool) -> [ListFormat.Entry]? {
            guard take("[") else { return nil }
            if take("]") { return place == bytes.count ? [] : nil }
            var entries: [ListFormat.Entry] = []
            repeat {
                guard let entry = hasScores ? pair() : string().map({ .init(id: $0, score: nil) })
                else { return nil }
                entries.append(entry)
            } while take(",")
            return take("]") && place == bytes.count ? entries : nil
        }

        private mutating func pair() -> ListFormat.Entry? {
            guard take("["), let id = string(), take(","), let score = number(), take("]") else {
                return nil
            }
            return ListFormat.Entry(id: id, score: score)
        }

        private mutating func string() -> String? {
            guard take("\""),
                let end = bytes[place...].firstIndex(where: {
                    $0 == UInt8(ascii: "\"") || $0 == UInt8(ascii: "\\") || $0 < 0x20
                }), bytes[end] == UInt8(ascii: "\"")
            else { return nil }
            defer { place = end + 1 }
            return String(validating: bytes[place..<end], as: UTF8.self)
        }

        private mutating func number() -> Double? {
            let start = place
            _ = take("-")
            let isZero = take("0")
            guard isZero || digits() else { return nil }
            if take("."), !digits() { return nil }
            if take("e") || take("E") {
                _ = take("+") || take("-")
                guard digits() else { return nil }
            }
            let number = Double(String(decoding: bytes[start..<place], as: UTF8.self))
            // What is beyond a Double, at either end, Foundation decides: it refuses it.
            return number.flatMap { $0.isNormal || place == start + 1 ? $0 : nil }
        }

        private mutating func digits() -> Bool {
            let start = place
            while place < bytes.count,
                (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(bytes[place])
            {
                place += 1
            }
            return place > start
        }

        private mutating func take(_ character: Unicode.Scalar) -> Bool {
            guard place < bytes.count, bytes[place] == UInt8(ascii: character) else { return false }
            place += 1
            return true
        }
    }
}
