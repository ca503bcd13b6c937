// SPDX-License-Identifier: Apache-2.0
private import Glibc

/// SplitMix64 (Steele, Lea, Flood 2014): every random choice comes from one of these and a seed
/// that is written down, so that a run can be repeated.
package struct SeededGenerator: RandomNumberGenerator, Sendable {
    var state: UInt64

    package init(seed: Int) { state = UInt64(bitPattern: Int64(seed)) }

    /// An independent stream for each of several parts of one computation.
    package init(seed: Int, stream: Int) {
        var mixer = SeededGenerator(seed: seed)
        state = mixer.next() ^ (UInt64(bitPattern: Int64(stream)) &* 0x9e37_79b9_7f4a_7c15)
    }

    package mutating func next() -> UInt64 {
        state &+= 0x9e37_79b9_7f4a_7c15
        var z = state
        z = (z ^ (z >> 30)) &* 0xbf58_476d_1ce4_e5b9
        z = (z ^ (z >> 27)) &* 0x94d0_49bb_1331_11eb
        return z ^ (z >> 31)
    }

    /// 0..<bound, by Lemire's multiplication; the bias is below bound / 2^32.
    mutating func index(below bound: Int) -> Int {
        Int(((next() >> 32) * UInt64(bound)) >> 32)
    }

    /// In [0, 1), 24 bits.
    mutating func unitFloat() -> Float { Float(next() >> 40) * 0x1p-24 }

    /// Normal, with a deviation of one; by Box and Muller.
    mutating func normalFloat() -> Float {
        let radius = (-2 * logf(1 - unitFloat())).squareRoot()
        return radius * cosf(2 * .pi * unitFloat())
    }
}
