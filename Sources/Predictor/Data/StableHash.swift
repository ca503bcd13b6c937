// SPDX-License-Identifier: Apache-2.0

/// FNV-1a, finished as SplitMix64 is: the same on every machine and for ever.
struct StableHash {
    let value: UInt64

    init(seed: Int, _ bytes: some Sequence<UInt8>) {
        var state = 0xcbf2_9ce4_8422_2325 ^ UInt64(bitPattern: Int64(seed))
        for byte in bytes { state = (state ^ UInt64(byte)) &* 0x0000_0100_0000_01b3 }
        var generator = SeededGenerator(seed: Int(bitPattern: UInt(state)))
        value = generator.next()
    }

    /// In [0, 1).
    var share: Double { Double(value >> 11) * 0x1p-53 }
}
