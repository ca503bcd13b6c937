// SPDX-License-Identifier: Apache-2.0

/// Encodes lists over one catalogue; every id is written out once, not once a list.
package struct ListEncoder: Sendable {
    package let format: ListFormat
    /// Each id as it stands in lists.
    private let written: [[UInt8]]
    private let packed: PackedList.IDs?

    /// `ids`: the catalogue; lists name items by their place in it.
    package init(_ format: ListFormat, ids: some Sequence<String>) {
        self.format = format
        switch format {
        case .json, .jsonScored:
            packed = nil
            written = ids.map(JSONText.quote)
        case .packed, .packedScored:
            let ids = Array(ids)
            let kind = PackedList.IDs(of: ids)
            packed = kind
            written = ids.map(kind.bytes)
        }
    }

    package func encode(
        _ items: some Sequence<Int32>,
        scores: some Collection<Float>
    ) -> [UInt8] {
        guard let packed else { return json(items, scores) }
        let ids = items.map { written[Int($0)] }
        return PackedList.encode(
            ids,
            packed,
            scores: format.hasScores ? Array(scores.prefix(ids.count)) : nil
        )
    }

    private func json(
        _ items: some Sequence<Int32>,
        _ scores: some Collection<Float>
    ) -> [UInt8] {
        var bytes: [UInt8] = [UInt8(ascii: "[")]
        var score = scores.startIndex
        for item in items {
            if bytes.count > 1 { bytes.append(UInt8(ascii: ",")) }
            guard format.hasScores else {
                bytes.append(contentsOf: written[Int(item)])
                continue
            }
            bytes.append(UInt8(ascii: "["))
            bytes.append(contentsOf: written[Int(item)])
            bytes.append(UInt8(ascii: ","))
            bytes.append(contentsOf: JSONText.number(scores[score]).utf8)
            bytes.append(UInt8(ascii: "]"))
            scores.formIndex(after: &score)
        }
        bytes.append(UInt8(ascii: "]"))
        return bytes
    }
}
