// SPDX-License-Identifier: Apache-2.0

/// Draws from a discrete distribution in constant time: Vose 1991, "A linear algorithm for
/// generating random numbers with a given distribution".
struct AliasTable: Sendable {
    private var threshold: [Float]
    private var alias: [UInt32]

    /// `weights`: one or more, none negative, not all zero.
    init(weights: [Double]) {
        let count = weights.count
        let total = weights.reduce(0, +)
        precondition(count > 0 && total > 0, "nothing to draw from")
        var scaled = weights.map { $0 / total * Double(count) }
        threshold = [Float](repeating: 1, count: count)
        alias = (0..<UInt32(count)).map { $0 }
        var small = scaled.indices.filter { scaled[$0] < 1 }
        var large = scaled.indices.filter { scaled[$0] >= 1 }
        while let less = small.popLast(), let more = large.popLast() {
            threshold[less] = Float(scaled[less])
            alias[less] = UInt32(more)
            scaled[more] -= 1 - scaled[less]
            if scaled[more] < 1 { small.append(more) } else { large.append(more) }
        }
    }

    func draw(_ generator: inout SeededGenerator) -> UInt32 {
        let bits = generator.next()
        let place = Int(((bits >> 32) * UInt64(alias.count)) >> 32)
        let coin = Float(bits & 0xff_ffff) * 0x1p-24
        return coin < threshold[place] ? UInt32(place) : alias[place]
    }
}
