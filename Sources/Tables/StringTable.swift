// SPDX-License-Identifier: Apache-2.0

/// Strings one after the other in one buffer, with no object per string.
package struct StringTable: Sendable, Equatable {
    /// UTF-8.
    package private(set) var bytes: [UInt8] = []
    /// count + 1 entries; string i is `bytes[offsets[i]..<offsets[i + 1]]`.
    package private(set) var offsets: [Int64] = [0]

    package init() {}

    package init(bytes: [UInt8], offsets: [Int64]) {
        self.bytes = bytes
        self.offsets = offsets
    }

    package init(_ strings: some Sequence<String>) {
        for string in strings { append(string.utf8) }
    }

    package var count: Int { offsets.count - 1 }

    package func range(_ index: Int) -> Range<Int> {
        Int(offsets[index])..<Int(offsets[index + 1])
    }

    package subscript(index: Int) -> String {
        String(decoding: bytes[range(index)], as: UTF8.self)
    }

    package mutating func append(_ string: some Sequence<UInt8>) {
        bytes.append(contentsOf: string)
        offsets.append(Int64(bytes.count))
    }

    mutating func append(_ string: RawSpan) {
        unsafe string.withUnsafeBytes { unsafe bytes.append(contentsOf: $0) }
        offsets.append(Int64(bytes.count))
    }

    mutating func removeAll() {
        bytes.removeAll(keepingCapacity: true)
        offsets.removeAll(keepingCapacity: true)
        offsets.append(0)
    }
}
