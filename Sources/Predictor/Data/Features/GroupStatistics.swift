// SPDX-License-Identifier: Apache-2.0

/// What the values of a group come to.
struct GroupStatistics {
    private var events: Int32 = 0
    private var count: Int32 = 0
    private var mean = 0.0
    /// The sum of squared differences from the mean (Welford 1962).
    private var squares = 0.0
    private var least = Float.infinity
    private var greatest = -Float.infinity

    /// NaN is counted as an event, and as nothing else.
    mutating func add(_ value: Float) {
        events += 1
        guard value.isFinite else { return }
        count += 1
        let before = Double(value) - mean
        mean += before / Double(count)
        squares += before * (Double(value) - mean)
        least = min(least, value)
        greatest = max(greatest, value)
    }

    /// NaN where there is none.
    func value(of statistic: Feature.Statistic) -> Float {
        if statistic == .count { return Float(events) }
        guard count > 0 else { return .nan }
        return switch statistic {
        case .count: Float(events)
        case .sum: Float(mean * Double(count))
        case .mean: Float(mean)
        case .std: Float((squares / Double(count)).squareRoot())
        case .min: least
        case .max: greatest
        }
    }
}
