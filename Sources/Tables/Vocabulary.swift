// SPDX-License-Identifier: Apache-2.0
private import Glibc

/// The map between the caller's ids and dense indices 0..<count.
///
/// Ids are found by a linear-probing hash table; with 24 to 48 bytes a slot's share and 8 for the
/// offset, an id takes its own bytes and 32 to 56 more. An id of at most 8 bytes is found without
/// a look at the ids themselves.
package struct Vocabulary: Sendable {
    private struct Slot: BitwiseCopyable {
        /// The id itself when it has at most 8 bytes, else its hash.
        var key: UInt64 = 0
        var length: UInt32 = 0
        var index: Int32 = -1
    }

    package private(set) var ids: StringTable
    private var slots: [Slot]
    private var fetched: UInt32 = 0

    package init(_ ids: StringTable = StringTable()) {
        self.ids = ids
        slots = []
        rehash()
    }

    package var count: Int { ids.count }

    package subscript(index: Int) -> String { ids[index] }

    package func index(of id: String) -> Int? {
        var id = id
        return id.withUTF8 { bytes in
            let slot = slots[find(unsafe RawSpan(_unsafeBytes: UnsafeRawBufferPointer(bytes)))]
            return slot.index >= 0 ? Int(slot.index) : nil
        }
    }

    package func index(of id: RawSpan) -> Int? {
        let slot = slots[find(id)]
        return slot.index >= 0 ? Int(slot.index) : nil
    }

    /// The index of an id, which is added if it is new; nil if it is new and not valid UTF-8.
    package mutating func insert(_ id: RawSpan) -> Int32? {
        let place = find(id)
        if slots[place].index >= 0 { return slots[place].index }
        guard isValidUTF8(id) else { return nil }
        let index = Int32(count)
        ids.append(id)
        slots[place] = Slot(key: Self.key(id), length: UInt32(id.byteCount), index: index)
        if count * 3 > slots.count * 2 { rehash() }
        return index
    }

    mutating func removeAll() {
        ids.removeAll()
        slots = []
        rehash()
    }

    /// Has the memory fetched that `insert` of this id will look at.
    @inline(__always)
    mutating func prefetch(_ id: RawSpan) {
        let place = Self.place(Self.key(id), UInt32(truncatingIfNeeded: id.byteCount))
        // Kept, so that it is not left out.
        fetched &+= slots[place & (slots.count - 1)].length
    }

    /// The slot that holds the id, or the empty one where it belongs.
    @inline(__always)
    private func find(_ id: RawSpan) -> Int {
        let mask = slots.count - 1
        let key = Self.key(id)
        let length = UInt32(truncatingIfNeeded: id.byteCount)
        var place = Self.place(key, length) & mask
        while slots[place].index >= 0 {
            let slot = slots[place]
            if slot.key == key && slot.length == length
                && (length <= 8 || equals(Int(slot.index), id))
            {
                return place
            }
            place = (place + 1) & mask
        }
        return place
    }

    private func equals(_ index: Int, _ id: RawSpan) -> Bool {
        let own = ids.range(index)
        return unsafe ids.bytes.withUnsafeBytes { all in
            unsafe id.withUnsafeBytes { other in
                unsafe memcmp(
                    all.baseAddress.unsafelyUnwrapped + own.lowerBound,
                    other.baseAddress.unsafelyUnwrapped,
                    own.count
                ) == 0
            }
        }
    }

    private mutating func rehash() {
        var size = 16
        while size < count * 2 { size *= 2 }
        if size < count * 3 { size *= 2 }
        slots = [Slot](repeating: Slot(), count: size)
        let mask = size - 1
        unsafe ids.bytes.withUnsafeBytes { bytes in
            for index in 0..<ids.count {
                let own = ids.range(index)
                let id = unsafe RawSpan(_unsafeBytes: bytes[own])
                let key = Self.key(id)
                let length = UInt32(own.count)
                var place = Self.place(key, length) & mask
                while slots[place].index >= 0 { place = (place + 1) & mask }
                slots[place] = Slot(key: key, length: length, index: Int32(index))
            }
        }
    }

    // MARK: hashing

    @inline(__always)
    private static func key(_ id: RawSpan) -> UInt64 {
        let count = id.byteCount
        return unsafe id.withUnsafeBytes { bytes in
            guard count > 0, let base = bytes.baseAddress else { return 0 }
            if count >= 8 {
                var hash = unsafe base.loadUnaligned(as: UInt64.self)
                if count == 8 { return hash }
                var at = 8
                while at + 8 < count {
                    hash = mix(hash, unsafe base.loadUnaligned(fromByteOffset: at, as: UInt64.self))
                    at += 8
                }
                // The last eight bytes, some of them for the second time.
                return mix(
                    hash,
                    unsafe base.loadUnaligned(fromByteOffset: count - 8, as: UInt64.self)
                )
            }
            if count >= 4 {
                let first = unsafe UInt64(base.loadUnaligned(as: UInt32.self))
                let last = unsafe UInt64(
                    base.loadUnaligned(fromByteOffset: count - 4, as: UInt32.self)
                )
                return first | last << UInt64((count - 4) * 8)
            }
            var key: UInt64 = 0
            for at in 0..<count { key |= unsafe UInt64(bytes[at]) << UInt64(at * 8) }
            return key
        }
    }

    /// wyhash's mixing step (Wang Yi): the two halves of a 128-bit product, folded.
    @inline(__always)
    private static func mix(_ a: UInt64, _ b: UInt64) -> UInt64 {
        let product = (a ^ 0xa076_1d64_78bd_642f).multipliedFullWidth(by: b ^ 0xe703_7ed1_a0b4_28db)
        return product.high ^ product.low
    }

    @inline(__always)
    private static func place(_ key: UInt64, _ length: UInt32) -> Int {
        Int(truncatingIfNeeded: mix(key, UInt64(length)) >> 1)
    }
}

private func isValidUTF8(_ id: RawSpan) -> Bool {
    unsafe id.withUnsafeBytes { bytes in
        if unsafe !bytes.contains(where: { $0 >= 0x80 }) { return true }
        return unsafe String(validating: bytes, as: UTF8.self) != nil
    }
}
