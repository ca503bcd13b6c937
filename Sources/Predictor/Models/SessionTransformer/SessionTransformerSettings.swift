// SPDX-License-Identifier: Apache-2.0

/// A transformer over the newest events of a session, by the names of the field.
package struct SessionTransformerSettings: Sendable, Codable, Equatable {
    package enum Masking: String, Sendable, Codable, CaseIterable {
        /// Some items are masked and found from those on both sides: masked language modelling
        /// (Devlin et al. 2019; BERT4Rec, Sun et al. 2019).
        case mlm
        /// Each item is found from those before it (SASRec, Kang and McAuley 2018).
        case causal
    }

    package var masking = Masking.causal
    /// Floats of each embedding, and of a row throughout.
    package var width = 64
    package var heads = 2
    package var layers = 2
    /// Floats between the two dense layers behind the attention.
    package var inner = 256
    package var dropout = 0.3
    /// The newest events of a session that are read.
    package var length = 50
    /// Of masked language modelling: the share of items that is masked.
    package var maskProbability = 0.15
    /// Items that are drawn to be chosen from beside those of the batch; 0: all items are.
    package var sampledNegatives = 0
    /// Seconds of a window, of which one after the other is trained on; nil: all at once.
    package var windows: Int?
    package var optimiser = OptimiserSettings()
    package var training = TrainingSettings()
    /// Padding is attended to, and stands among what is chosen from, as in Transformers4Rec.
    package private(set) var isTransformers4Rec = false
    /// Of the last bits only: any number learns the same.
    package var threads = 1

    package init() {
        training.batch = 128
    }

    /// The model and the training of Transformers4Rec's getting-started notebooks.
    package static var transformers4Rec: Self {
        var settings = Self()
        settings.isTransformers4Rec = true
        settings.masking = .mlm
        settings.heads = 4
        settings.length = 20
        settings.optimiser.learningRate = 5e-4
        settings.optimiser.clip = 1
        settings.optimiser.schedule = .cosine
        settings.optimiser.waves = 7.5
        settings.training.epochs = 5
        return settings
    }
}

extension SessionTransformerSettings {
    /// With the logarithm of how often a batch has each: in the end the softmax over all.
    var candidates: CandidateSettings {
        CandidateSettings(
            logQ: true,
            masksAccidentalHits: true,
            sampledNegatives: sampledNegatives,
            sampler: .uniform,
            seed: training.seed
        )
    }

    /// The newest events of a session that are read when it is asked: a mask takes one of the places.
    var readLength: Int { masking == .mlm ? length - 1 : length }

    /// A code that learns nothing as an input, PyTorch's padding_idx; -1: none.
    var skippedCode: Int32 { isTransformers4Rec ? Code.padding : -1 }

    /// Whether a training could go on with the other's: threads are of no matter.
    package func learnsAs(_ other: Self) -> Bool {
        var same = self
        same.threads = other.threads
        return same == other
    }

    var transformer: TransformerSettings {
        TransformerSettings(
            width: width,
            heads: heads,
            layers: layers,
            inner: inner,
            dropout: dropout,
            epsilon: isTransformers4Rec ? 0.03 : 1e-5,
            deviation: isTransformers4Rec ? 0.01 : 0.02,
            isCausal: masking == .causal
        )
    }

    /// Outputs of the dense layers between the embeddings and the transformer, the mask behind the
    /// first of them; none where there is nothing to bring together.
    func projections(inputs: Int) -> [Int] {
        if isTransformers4Rec { return [100, width] }
        return inputs == width ? [] : [width]
    }
}
