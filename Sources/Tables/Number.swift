// SPDX-License-Identifier: Apache-2.0

enum Number {
    /// A decimal number; nil if the text is none.
    static func parse(_ text: RawSpan) -> Double? {
        unsafe text.withUnsafeBytes { unsafe parse($0) }
    }

    private static let powers: [Double] = (0...15).map { power in
        (0..<power).reduce(1.0) { value, _ in value * 10 }
    }

    private static func parse(_ text: UnsafeRawBufferPointer) -> Double? {
        guard text.count > 0 else { return nil }
        let isNegative = unsafe text[0] == UInt8(ascii: "-")
        var at = isNegative ? 1 : 0
        var mantissa: Int64 = 0
        var digits = 0
        var decimals = 0
        var hasPoint = false
        while at < text.count {
            let byte = unsafe text[at]
            if byte.isDigit {
                mantissa = mantissa &* 10 &+ Int64(byte - 48)
                digits += 1
                if hasPoint { decimals += 1 }
            } else if byte == UInt8(ascii: "."), !hasPoint {
                hasPoint = true
            } else {
                return unsafe slow(text)
            }
            at += 1
        }
        // Up to fifteen digits and powers of ten are exact doubles, so the quotient is rounded once.
        guard digits > 0, digits <= 15 else { return unsafe slow(text) }
        let value = Double(mantissa) / powers[decimals]
        return isNegative ? -value : value
    }

    private static func slow(_ text: UnsafeRawBufferPointer) -> Double? {
        guard text.count <= 400,
            let value = unsafe Double(String(decoding: text, as: UTF8.self)), !value.isInfinite
        else { return nil }
        return value
    }
}
