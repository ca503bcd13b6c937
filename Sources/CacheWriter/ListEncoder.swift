// SPDX-License-Identifier: Apache-2.0

/// Encodes lists over one catalogue; every id is written out once, not once a list.
package struct ListEncoder: Sendable {
    package let format: ListFormat
    /// The ids as they stand in lists, one behind the other.
    private let written: [UInt8]
    /// Where each id starts, and the end.
    private let starts: [Int]
    private let packed: PackedList.IDs?

    /// A float's shortest text, brackets and a comma.
    private static let longestScore = 20

    /// `ids`: the catalogue; lists name items by their place in it.
    package init(_ format: ListFormat, ids: some Sequence<String>) {
        self.format = format
        let ids = Array(ids)
        let kind = format.isPacked ? PackedList.IDs(of: ids) : nil
        var written: [UInt8] = []
        var starts = [0]
        for id in ids {
            if let kind { written += kind.bytes(id) } else { written += JSONText.quote(id) }
            starts.append(written.count)
        }
        packed = kind
        self.written = written
        self.starts = starts
    }

    /// `scores`: one of each item; not looked at where the format has none.
    package func encode(_ items: [Int32], scores: [Float]) -> [UInt8] {
        var bytes: [UInt8] = []
        encode(items, scores: scores, into: &bytes)
        return bytes
    }

    /// Adds the list to what is there.
    func encode(_ items: [Int32], scores: [Float], into bytes: inout [UInt8]) {
        precondition(!format.hasScores || scores.count == items.count, "a score for each item")
        let ids = items.reduce(0) { $0 + range(of: $1).count }
        let others = items.count * (format.hasScores ? Self.longestScore : 1)
        bytes.append(addingCapacity: PackedList.headerSize + ids + others) { output in
            if let packed {
                writePacked(items, scores, packed, to: &output)
            } else {
                writeJSON(items, scores, to: &output)
            }
        }
    }

    private func writeJSON(
        _ items: [Int32],
        _ scores: [Float],
        to output: inout OutputSpan<UInt8>
    ) {
        output.append(UInt8(ascii: "["))
        for place in items.indices {
            if place > 0 { output.append(UInt8(ascii: ",")) }
            guard format.hasScores else {
                writeID(items[place], to: &output)
                continue
            }
            output.append(UInt8(ascii: "["))
            writeID(items[place], to: &output)
            output.append(UInt8(ascii: ","))
            for byte in JSONText.number(scores[place]).utf8 { output.append(byte) }
            output.append(UInt8(ascii: "]"))
        }
        output.append(UInt8(ascii: "]"))
    }

    private func writePacked(
        _ items: [Int32],
        _ scores: [Float],
        _ ids: PackedList.IDs,
        to output: inout OutputSpan<UInt8>
    ) {
        for byte in PackedList.header(ids, hasScores: format.hasScores, count: items.count) {
            output.append(byte)
        }
        for item in items { writeID(item, to: &output) }
        guard format.hasScores else { return }
        for score in scores {
            let bits = PackedList.half(score).bitPattern
            output.append(UInt8(truncatingIfNeeded: bits))
            output.append(UInt8(truncatingIfNeeded: bits >> 8))
        }
    }

    private func writeID(_ item: Int32, to output: inout OutputSpan<UInt8>) {
        for place in range(of: item) { output.append(written[place]) }
    }

    private func range(of item: Int32) -> Range<Int> {
        starts[Int(item)]..<starts[Int(item) + 1]
    }
}
