// SPDX-License-Identifier: Apache-2.0
private import CKernels

/// Draws from a discrete distribution in constant time: Vose 1991, "A linear algorithm for
/// generating random numbers with a given distribution".
struct AliasTable: Sendable {
    private(set) var threshold: [Float]
    private(set) var alias: [UInt32]

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

    /// Writes n draws to the start of `drawn`.
    func draw(_ n: Int, into drawn: inout [UInt32], _ generator: inout SeededGenerator) {
        if drawn.count < n { drawn = [UInt32](repeating: 0, count: n) }
        unsafe larder_draw(threshold, alias, alias.count, &generator.state, &drawn, n)
    }
}
