// SPDX-License-Identifier: Apache-2.0

/// Strings one after the other in one buffer, with no object per string.
package struct StringTable: Sendable {
    /// UTF-8.
    package private(set) var bytes: [UInt8] = []
    /// count + 1 entries; string i is `bytes[offsets[i]..<offsets[i + 1]]`.
    package private(set) var offsets: [Int64] = [0]

    package init() {}

    package init(bytes: [UInt8], offsets: [Int64]) {
        self.bytes = bytes
        self.offsets = offsets
    }

    package var count: Int { offsets.count - 1 }

    package func range(_ index: Int) -> Range<Int> {
        Int(offsets[index])..<Int(offsets[index + 1])
    }

    package subscript(index: Int) -> String {
        String(decoding: bytes[range(index)], as: UTF8.self)
    }

    mutating func append(_ string: ArraySlice<UInt8>) {
        bytes.append(contentsOf: string)
        offsets.append(Int64(bytes.count))
    }
}

/// The map between the caller's ids and dense indices 0..<count.
///
/// Ids are found by a linear-probing hash table of indices: 8 bytes and 6 to 16 more an id beside its
/// own bytes.
package struct Vocabulary: Sendable {
    package private(set) var ids: StringTable
    private var slots: [Int32]

    package init(_ ids: StringTable = StringTable()) {
        self.ids = ids
        slots = []
        rehash()
    }

    package var count: Int { ids.count }

    package subscript(index: Int) -> String { ids[index] }

    package func index(of id: String) -> Int? {
        let key = Array(id.utf8)
        let slot = find(key, 0..<key.count)
        return slots[slot] >= 0 ? Int(slots[slot]) : nil
    }

    func index(of source: [UInt8], _ range: Range<Int>) -> Int? {
        let slot = find(source, range)
        return slots[slot] >= 0 ? Int(slots[slot]) : nil
    }

    /// The index of an id, which is added if it is new; nil if it is new and not valid UTF-8.
    mutating func insert(_ source: [UInt8], _ range: Range<Int>) -> Int? {
        let slot = find(source, range)
        if slots[slot] >= 0 { return Int(slots[slot]) }
        guard isValidUTF8(source, range) else { return nil }
        let index = count
        ids.append(source[range])
        slots[slot] = Int32(index)
        if count * 3 > slots.count * 2 { rehash() }
        return index
    }

    /// The same ids with the most frequent first, ties in the order they came; and for each old
    /// index its new one.
    func sorted(byCounts counts: [Int]) -> (Vocabulary, newIndex: [Int32]) {
        let order = (0..<count).sorted {
            counts[$0] != counts[$1] ? counts[$0] > counts[$1] : $0 < $1
        }
        var newIndex = [Int32](repeating: 0, count: count)
        var sorted = StringTable()
        for (new, old) in order.enumerated() {
            newIndex[old] = Int32(new)
            sorted.append(ids.bytes[ids.range(old)])
        }
        return (Vocabulary(sorted), newIndex)
    }

    /// The slot that holds the key, or the empty one where it belongs.
    private func find(_ source: [UInt8], _ range: Range<Int>) -> Int {
        let mask = slots.count - 1
        var slot = Self.hash(source, range) & mask
        while slots[slot] >= 0 {
            if equals(Int(slots[slot]), source, range) { return slot }
            slot = (slot + 1) & mask
        }
        return slot
    }

    private func equals(_ index: Int, _ source: [UInt8], _ range: Range<Int>) -> Bool {
        let own = ids.range(index)
        guard own.count == range.count else { return false }
        return ids.bytes[own].elementsEqual(source[range])
    }

    private mutating func rehash() {
        var size = 16
        while size * 2 < max(8, count) * 4 { size *= 2 }
        slots = [Int32](repeating: -1, count: size)
        for index in 0..<count {
            slots[find(ids.bytes, ids.range(index))] = Int32(index)
        }
    }

    /// FNV-1a over the bytes, finished with a multiply-shift so that the low bits are good too.
    private static func hash(_ source: [UInt8], _ range: Range<Int>) -> Int {
        var hash: UInt64 = 0xcbf2_9ce4_8422_2325
        for place in range {
            hash = (hash ^ UInt64(source[place])) &* 0x0000_0100_0000_01b3
        }
        hash = (hash ^ (hash >> 32)) &* 0x9e37_79b9_7f4a_7c15
        return Int(truncatingIfNeeded: hash >> 33)
    }
}

private func isValidUTF8(_ source: [UInt8], _ range: Range<Int>) -> Bool {
    if !source[range].contains(where: { $0 >= 0x80 }) { return true }
    return String(validating: source[range], as: UTF8.self) != nil
}
