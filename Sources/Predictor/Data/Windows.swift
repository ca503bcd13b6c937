// SPDX-License-Identifier: Apache-2.0

extension Dataset {
    /// Sequences that begin in the same stretch of time.
    package struct Window: Sendable, Equatable {
        /// Seconds since 1970.
        package let start: Int
        package let sequences: [Int]
    }

    /// Windows of so many seconds, counted from 1970, in the order of time; those without sequences
    /// are left out.
    ///
    /// With windows of a day a model learns as a Transformers4Rec model does: from the day d, to be
    /// measured on d + 1.
    package func windows(of seconds: Int) -> [Window] {
        var sequences: [Int: [Int]] = [:]
        for sequence in 0..<sequenceCount {
            let first = events(ofSequence: sequence).lowerBound
            sequences[Int(eventTimes[first]) / seconds, default: []].append(sequence)
        }
        return sequences.keys.sorted().map { key in
            Window(start: key * seconds, sequences: sequences[key] ?? [])
        }
    }
}
