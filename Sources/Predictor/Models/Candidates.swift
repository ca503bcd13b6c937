// SPDX-License-Identifier: Apache-2.0
private import Glibc

/// Which items stand beside those of a batch, and what each counts.
struct CandidateSettings {
    /// Candidates count as if all were met as often.
    ///
    /// Yi, Yang et al. 2019, equation 3.
    var logQ: Bool
    /// Another event of the same item in a batch is no negative.
    var masksAccidentalHits: Bool
    /// Items drawn beside those of the batch.
    var sampledNegatives: Int
    var sampler: TwoTowerSettings.Sampler
    var seed: Int
}

/// The items that a batch chooses from: its own, each once however often it is in it, and those
/// drawn beside them.
struct Candidates {
    private let settings: CandidateSettings
    private let counts: [Int]
    private let total: Double
    private let met: [Int32]
    private let byPopularity: AliasTable?
    /// The candidate that an item is, -1 if none.
    private var place: [Int32]

    private(set) var items: [Int32] = []
    /// How many of the batch's events and of what was drawn each item stands for.
    private(set) var copies: [Float] = []
    /// What is added to the logits of one copy of each.
    private(set) var biases: [Float] = []
    private(set) var targets = ContrastiveLoss.Targets()
    /// What the loss leaves out: the right one is one of several copies that all count.
    private(set) var addedLoss = 0.0

    /// `counts`: training events of each item.
    init(_ counts: [Int], _ settings: CandidateSettings) {
        self.settings = settings
        self.counts = counts
        total = Double(counts.reduce(0, +))
        place = [Int32](repeating: -1, count: counts.count)
        let met = counts.indices.filter { counts[$0] > 0 }
        self.met = met.map { Int32($0) }
        byPopularity =
            settings.sampledNegatives > 0 && settings.sampler == .popularity
            ? AliasTable(weights: met.map { Double(counts[$0]) }) : nil
    }

    mutating func fill(_ batch: [Int32], step: Int) {
        for item in items { place[Int(item)] = -1 }
        items.removeAll(keepingCapacity: true)
        copies.removeAll(keepingCapacity: true)
        targets = ContrastiveLoss.Targets()
        targets.target.reserveCapacity(batch.count)
        for item in batch { targets.target.append(add(item)) }
        draw(step)
        biases = items.map { settings.logQ ? -logf(expectedCopies($0, batch.count)) : 0 }
        targets.bias = zip(copies, biases).map { logf($0) + $1 }
        addedLoss = 0
        for target in targets.target {
            let alone = biases[Int(target)]
            if settings.masksAccidentalHits {
                targets.targetBias.append(alone)
            } else {
                targets.targetBias.append(targets.bias[Int(target)])
                addedLoss += Double(targets.bias[Int(target)] - alone) / Double(batch.count)
            }
        }
    }

    private mutating func add(_ item: Int32) -> Int32 {
        let known = place[Int(item)]
        if known >= 0 {
            copies[Int(known)] += 1
            return known
        }
        let new = Int32(items.count)
        place[Int(item)] = new
        items.append(item)
        copies.append(1)
        return new
    }

    private mutating func draw(_ step: Int) {
        guard settings.sampledNegatives > 0 else { return }
        var generator = SeededGenerator(seed: settings.seed &+ 1, stream: step)
        if let byPopularity {
            var drawn: [UInt32] = []
            byPopularity.draw(settings.sampledNegatives, into: &drawn, &generator)
            for row in drawn.prefix(settings.sampledNegatives) { _ = add(met[Int(row)]) }
        } else {
            for _ in 0..<settings.sampledNegatives {
                _ = add(met[generator.index(below: met.count)])
            }
        }
    }

    /// How often a batch of so many events, and what is drawn beside it, has an item on average.
    private func expectedCopies(_ item: Int32, _ batch: Int) -> Float {
        let share = Double(counts[Int(item)]) / total
        let drawn =
            switch settings.sampler {
            case .uniform: 1 / Double(met.count)
            case .popularity: share
            }
        return Float(Double(batch) * share + Double(settings.sampledNegatives) * drawn)
    }
}
