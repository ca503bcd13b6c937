// SPDX-License-Identifier: Apache-2.0
private import Glibc

/// Lines of text on their way to a new file.
struct TextFile: ~Copyable {
    private static var most: Int { 1 << 20 }

    private let file: OutputFile
    private var bytes: [UInt8] = []

    init(_ path: String) throws(PredictorError) { file = try OutputFile(path) }

    mutating func write(_ text: String) throws(PredictorError) {
        bytes.append(contentsOf: text.utf8)
        if bytes.count >= Self.most { try flush() }
    }

    /// Appends a whole number and a character.
    mutating func write(_ number: Int, _ end: Unicode.Scalar) throws(PredictorError) {
        precondition(number >= 0)
        let start = bytes.count
        var rest = number
        repeat {
            bytes.append(UInt8(ascii: "0") + UInt8(rest % 10))
            rest /= 10
        } while rest > 0
        bytes[start...].reverse()
        bytes.append(UInt8(ascii: end))
        if bytes.count >= Self.most { try flush() }
    }

    private mutating func flush() throws(PredictorError) {
        try file.write(bytes)
        bytes.removeAll(keepingCapacity: true)
    }

    mutating func finish() throws(PredictorError) {
        try flush()
        try file.sync()
    }
}

extension SeededGenerator {
    /// In (0, 1).
    mutating func unit() -> Double { (Double(next() >> 11) + 0.5) * 0x1p-53 }

    /// Of mean 0 and variance 1 (Box and Muller 1958).
    mutating func normal() -> Double {
        (-2 * log(unit())).squareRoot() * cos(2 * .pi * unit())
    }
}
