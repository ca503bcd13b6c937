// SPDX-License-Identifier: Apache-2.0
private import Glibc

/// The two-tower model by the names that Merlin's users know.
package struct TwoTowerSettings: Sendable, Codable, Equatable {
    package enum Sampler: String, Sendable, Codable, CaseIterable {
        case uniform
        /// As often as training has them.
        case popularity
    }

    /// Floats of each embedding.
    package var embedding = 64
    /// Outputs of each dense layer, of both towers; none: the embeddings are the vectors.
    package var towers = [128, 64]
    package var optimiser = OptimiserSettings()
    package var training = TrainingSettings()
    package var dropout = 0.0
    package var temperature = 0.1
    /// Vectors have a length of one: a score is a cosine.
    package var normalise = true
    /// Candidates count as if all were met as often.
    ///
    /// Yi, Yang et al. 2019, equation 3.
    package var logQ = true
    /// Another event of the same item in a batch is no negative.
    package var masksAccidentalHits = true
    /// Items beside those of the batch that are negatives for all of it.
    package var sampledNegatives = 0
    package var sampler = Sampler.uniform
    /// Item vectors of past batches that are negatives too, as they were.
    package var queue = 0
    /// The weight of `GraphSmoothing`; nil: none.
    package var smoothing: Double?
    /// Widths and first values of embeddings, and the rectified last layer, are Merlin's.
    package private(set) var isMerlin = false
    /// Of the last bits only: any number learns the same.
    package var threads = 1

    package init() {
        optimiser.learningRate = 0.003
    }

    /// Merlin's TwoTowerModelV2, with the optimiser of its examples.
    package static var merlin: Self {
        var settings = Self()
        settings.isMerlin = true
        settings.optimiser.kind = .adagrad
        settings.optimiser.learningRate = 0.05
        settings.temperature = 1
        settings.normalise = false
        settings.logQ = false
        return settings
    }
}

extension TwoTowerSettings {
    var candidates: CandidateSettings {
        CandidateSettings(
            logQ: logQ,
            masksAccidentalHits: masksAccidentalHits,
            sampledNegatives: sampledNegatives,
            sampler: sampler,
            seed: training.seed
        )
    }

    var style: EntityInput.Style {
        isMerlin ? .merlin : .normal { [embedding] _ in embedding }
    }
}

extension EntityInput.Style {
    /// InputBlockV2: the fourth root of the codes, twice, up to the next multiple of eight; uniform
    /// within ±0.05.
    fileprivate static let merlin = Self(
        width: { codes in (Int((2 * pow(Double(codes), 0.25)).rounded(.up)) + 7) / 8 * 8 },
        begin: { generator in (generator.unitFloat() * 2 - 1) * 0.05 }
    )
}
