// SPDX-License-Identifier: Apache-2.0
private import Glibc

/// A figure with the interval that holds it with 95 % confidence.
package struct Estimate: Sendable, Codable, Equatable {
    package let value: Double
    package let low: Double
    package let high: Double

    package init(value: Double, low: Double, high: Double) {
        self.value = value
        self.low = low
        self.high = high
    }
}

/// How much more one of two is, measured on the same queries.
package struct Difference: Sendable, Codable, Equatable {
    package let value: Double
    package let low: Double
    package let high: Double
    /// That it is above zero.
    package let probability: Double

    package init(value: Double, low: Double, high: Double, probability: Double) {
        self.value = value
        self.low = low
        self.high = high
        self.probability = probability
    }

    /// Whether it is, beyond its interval, more or less than nothing.
    package var sign: Int { low > 0 ? 1 : high < 0 ? -1 : 0 }
}

/// A figure, and what it would be on other draws of the queries.
package struct Replicated: Sendable, Equatable {
    /// How the draws were made, which tells what their spread means.
    private enum Draws {
        /// Queries drawn with replacement: percentiles are the interval (Efron 1979).
        case bootstrap
        /// All but one group of queries each: for what is no mean, such as coverage (Quenouille
        /// 1956; the delete-a-group jackknife of Kott 2001).
        case jackknife
    }

    package let value: Double
    /// As many as `Resampling` draws, or as there are groups of queries; NaN where a draw has nothing to
    /// measure it on.
    package let replicates: [Double]

    package init(_ value: Double, _ replicates: [Double]) {
        self.value = value
        self.replicates = replicates
    }

    private var draws: Draws {
        replicates.count == CatalogueTally.groups ? .jackknife : .bootstrap
    }

    package var estimate: Estimate {
        let interval = interval(of: value, replicates)
        return Estimate(value: value, low: interval.low, high: interval.high)
    }

    /// This less the other; the draws of both are of the same queries.
    package func difference(from other: Replicated) -> Difference {
        precondition(replicates.count == other.replicates.count, "the same draws")
        let value = value - other.value
        let each = zip(replicates, other.replicates).map { $0 - $1 }
        let interval = interval(of: value, each)
        return Difference(
            value: value,
            low: interval.low,
            high: interval.high,
            probability: probability(of: value, each)
        )
    }

    private func interval(of value: Double, _ replicates: [Double]) -> (low: Double, high: Double) {
        switch draws {
        case .bootstrap:
            let sorted = replicates.filter(\.isFinite).sorted()
            guard !sorted.isEmpty else { return (value, value) }
            return (
                sorted[Int(0.025 * Double(sorted.count))],
                sorted[min(sorted.count - 1, Int(0.975 * Double(sorted.count)))]
            )
        case .jackknife:
            let margin = Self.t * Self.deviation(replicates)
            return (value - margin, value + margin)
        }
    }

    private func probability(of value: Double, _ each: [Double]) -> Double {
        switch draws {
        case .bootstrap:
            let finite = each.filter(\.isFinite)
            guard !finite.isEmpty else { return 0.5 }
            // Equal draws speak for neither.
            let above = finite.reduce(0) { $0 + ($1 > 0 ? 1 : $1 == 0 ? 0.5 : 0) }
            return above / Double(finite.count)
        case .jackknife:
            let deviation = Self.deviation(each)
            guard deviation > 0 else { return value > 0 ? 1 : value < 0 ? 0 : 0.5 }
            return 0.5 * erfc(-value / deviation / 2.0.squareRoot())
        }
    }

    /// Student's t for 95 % with one degree of freedom less than there are groups, 20.
    private static let t = 2.093

    private static func deviation(_ replicates: [Double]) -> Double {
        let count = Double(replicates.count)
        let mean = replicates.reduce(0, +) / count
        let squares = replicates.reduce(0) { $0 + ($1 - mean) * ($1 - mean) }
        return ((count - 1) / count * squares).squareRoot()
    }
}
