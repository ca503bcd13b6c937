// SPDX-License-Identifier: Apache-2.0

/// Settings of a model that are tried beside each other; the best on the validation part is kept.
struct Sweep: Codable, Equatable, Sendable {
    /// One set of settings.
    struct Arm: Codable, Equatable, Sendable {
        /// What is particular to it, such as `embedding 64, learning-rate 0.05`.
        var name: String
        var model: Pipeline.Model
    }

    /// When the best of the arms is looked for.
    enum Join: Codable, Equatable, Sendable {
        /// When all have ended; one that succeeded is enough.
        case any
        /// When all have succeeded.
        case all
        /// As soon as so many have succeeded.
        case atLeast(Int)
        /// When all have ended, or so many seconds later with those there are.
        case bestOf(Int)
    }

    /// In the order of the file: the last key changes fastest.
    var arms: [Arm]
    /// What arms are chosen by, such as `ndcg@10`.
    var select: String
    var join: Join
    /// One in so many goes on after each round of successive halving; nil: all are trained whole.
    var halving: Int?

    /// Rounds of training, the last of which is whole.
    ///
    /// Successive halving (Jamieson and Talwalkar 2016): n arms are trained for a share of a training,
    /// one in `halving` of them for `halving` times as long, and so on.
    var rounds: [Round] {
        guard let halving else { return [Round(arms: arms.count, until: 1)] }
        var sizes = [arms.count]
        while let last = sizes.last, last >= halving { sizes.append(last / halving) }
        return sizes.enumerated().map { place, size in
            let left = sizes.count - 1 - place
            let share = (0..<left).reduce(1.0) { share, _ in share / Double(halving) }
            return Round(arms: size, until: share)
        }
    }

    struct Round: Equatable {
        let arms: Int
        /// The share of a whole training that it comes to.
        let until: Double
    }

    var k: Int { Int(select.split(separator: "@").last ?? "") ?? 10 }
}
