// SPDX-License-Identifier: Apache-2.0
private import Glibc

extension NumberFit {
    /// Fits to values that each count so many times.
    init(
        _ scaling: Feature.Scaling,
        rows: Int,
        _ value: (Int) -> Float,
        weight: (Int) -> Int
    ) {
        var count = 0
        var sum = 0.0
        var squares = 0.0
        var least = Double.infinity
        var greatest = -Double.infinity
        var known: [(value: Float, weight: Int)] = []
        let needsMedian = scaling.fill == .median
        // Around the first value, so that the squares keep their digits.
        var origin: Double?
        for row in 0..<rows {
            let times = weight(row)
            guard times > 0 else { continue }
            var number = value(row)
            if scaling.log { number = number < 0 ? .nan : log1pf(number) }
            guard number.isFinite else { continue }
            if needsMedian { known.append((number, times)) }
            let from = origin ?? Double(number)
            origin = from
            let x = Double(number) - from
            count += times
            sum += x * Double(times)
            squares += x * x * Double(times)
            least = min(least, Double(number))
            greatest = max(greatest, Double(number))
        }
        let offset = count > 0 ? sum / Double(count) : 0
        let mean = (origin ?? 0) + offset
        let deviation =
            count > 0 ? (max(0, squares / Double(count) - offset * offset)).squareRoot() : 0
        self.count = count
        log = scaling.log
        (shift, scale) =
            switch scaling.scale {
            case .none: (0, 1)
            case .standard: (Float(mean), Float(deviation))
            case .minMax: count > 0 ? (Float(least), Float(greatest - least)) : (0, 1)
            }
        // All are the same: they become 0.
        if !(scale > 0) { scale = 1 }
        let filler: Float =
            switch scaling.fill {
            case .mean: Float(mean)
            case .median: Self.median(&known, of: count)
            case .value(let value): scaling.log ? log1pf(max(0, value)) : value
            }
        fill = (filler - shift) / scale
    }

    /// The value of which half of the events have no more.
    private static func median(_ known: inout [(value: Float, weight: Int)], of count: Int) -> Float
    {
        known.sort { $0.value < $1.value }
        var before = 0
        for (value, weight) in known {
            before += weight
            if before * 2 >= count { return value }
        }
        return 0
    }
}
