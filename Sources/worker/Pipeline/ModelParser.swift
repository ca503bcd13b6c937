// SPDX-License-Identifier: Apache-2.0
import Predictor
import Yams

/// Reads `model:` and `rank:` of a pipeline file.
struct ModelParser {
    private let section: YAMLSection

    init(_ section: YAMLSection) { self.section = section }

    func model() -> Pipeline.Model {
        let kind =
            section.node == nil
            ? Popularity.kind
            : section.choice("kind", of: Pipeline.Model.kinds, default: nil)
        // Of a kind that does not exist, nobody knows the keys.
        let isKnown = section.value("kind")?.scalar?.string == kind
        defer { if isKnown { section.finish() } }
        return switch kind {
        case Prod2Vec.kind: .prod2vec(prod2vec())
        case ALS.kind: .als(als())
        case ItemKNN.kind: .itemKNN(itemKNN())
        case TwoTower.kind: .twoTower(twoTower())
        case SessionTransformer.kind: .sessionTransformer(sessionTransformer())
        case ImportedLists.kind: .lists(score: section.string("score"))
        default: .popularity
        }
    }

    func rank() -> Pipeline.Rank {
        _ = section.choice("kind", of: [RatingMLP.kind], default: nil)
        defer { section.finish() }
        return Pipeline.Rank(
            model: .ratingMLP(ratingMLP()),
            candidates: section.int("candidates", default: 200, in: 1...10_000)
        )
    }

    private func ratingMLP() -> RatingMLPSettings {
        var s = RatingMLPSettings()
        if let text = section.string("label"), let node = section.value("label") {
            s.label = Condition(text)
            if s.label == nil || s.label?.isNumeric == false {
                section.wrong(node, "label", "a comparison with a number, like rating >= 4")
            }
        } else {
            s.negatives = section.int("negatives", default: s.negatives, in: 1...1000)
        }
        if section.value("embedding") != nil {
            s.embedding = section.int("embedding", default: 64, in: 1...4096)
        }
        s.layers = layers("layers", default: s.layers)
        if s.layers.isEmpty, let node = section.value("layers") {
            section.wrong(node, "layers", "one width or more, like [128, 128, 128]")
        }
        s.dropout = section.double("dropout", default: s.dropout, in: 0...0.99)
        s.optimiser = optimiser(s.optimiser)
        s.training = training(s.training)
        s.threads = threads(s.threads)
        return s
    }

    private func itemKNN() -> ItemKNNSettings {
        var s = ItemKNNSettings()
        s.neighbours = section.int("neighbors", default: s.neighbours, in: 1...100_000)
        s.shrinkage = section.double("shrinkage", default: s.shrinkage, in: 0...1_000_000)
        s.threads = threads(s.threads)
        return s
    }

    private func als() -> ALSSettings {
        var s = ALSSettings()
        s.factors = section.int("factors", default: s.factors, in: 1...2048)
        s.regularization = section.double(
            "regularization",
            default: s.regularization,
            in: 0...1_000_000
        )
        s.alpha = section.double("alpha", default: s.alpha, in: 0...1_000_000)
        s.iterations = section.int("iterations", default: s.iterations, in: 1...1000)
        s.seed = section.int("seed", default: s.seed, in: 0...Int(Int32.max))
        s.threads = threads(s.threads)
        return s
    }

    private func prod2vec() -> Prod2VecSettings {
        var s = Prod2VecSettings()
        s.vectorSize = section.int("vector-size", default: s.vectorSize, in: 1...4096)
        s.window = section.int("window", default: s.window, in: 1...1000)
        s.negative = section.int("negative", default: s.negative, in: 1...100)
        s.nsExponent = section.double("ns-exponent", default: s.nsExponent, in: -2...2)
        s.sample = section.double("sample", default: s.sample, in: 0...1)
        s.minCount = section.int("min-count", default: s.minCount, in: 1...1_000_000_000)
        s.alpha = section.double("alpha", default: s.alpha, in: 1e-9...10)
        s.minAlpha = section.double("min-alpha", default: s.minAlpha, in: 0...10)
        s.epochs = section.int("epochs", default: s.epochs, in: 1...10_000)
        s.skipGram = section.bool("skip-gram", default: s.skipGram)
        s.seed = section.int("seed", default: s.seed, in: 0...Int(Int32.max))
        s.threads = threads(s.threads)
        return s
    }

    private func twoTower() -> TwoTowerSettings {
        let isMerlin =
            section.value("compat") != nil
            && section.choice("compat", of: ["merlin"], default: nil) == "merlin"
        var s = isMerlin ? TwoTowerSettings.merlin : TwoTowerSettings()
        s.towers = layers("towers", default: s.towers)
        s.optimiser = optimiser(s.optimiser)
        s.training = training(s.training)
        s.threads = threads(s.threads)
        // What Merlin's model has no say in.
        guard !isMerlin else { return s }
        s.embedding = section.int("embedding", default: s.embedding, in: 1...4096)
        s.dropout = section.double("dropout", default: s.dropout, in: 0...0.99)
        s.temperature = section.double("temperature", default: s.temperature, in: 0.001...1000)
        s.normalise = section.bool("normalize", default: s.normalise)
        s.logQ = section.bool("logq", default: s.logQ)
        s.masksAccidentalHits =
            section.choice("accidental-hits", of: ["mask", "keep"], default: "mask") == "mask"
        s.sampledNegatives = section.int(
            "sampled-negatives",
            default: s.sampledNegatives,
            in: 0...1_000_000
        )
        s.sampler =
            TwoTowerSettings.Sampler(
                rawValue: section.choice(
                    "sampler",
                    of: TwoTowerSettings.Sampler.allCases.map(\.rawValue),
                    default: s.sampler.rawValue
                )
            ) ?? s.sampler
        s.queue = section.int("queue", default: s.queue, in: 0...1_000_000)
        if section.value("smoothing") != nil {
            s.smoothing = section.double("smoothing", default: 0, in: 0...100)
        }
        return s
    }

    private func sessionTransformer() -> SessionTransformerSettings {
        let isTransformers4Rec =
            section.value("compat") != nil
            && section.choice("compat", of: ["transformers4rec"], default: nil)
                == "transformers4rec"
        var s =
            isTransformers4Rec
            ? SessionTransformerSettings.transformers4Rec : SessionTransformerSettings()
        s.width = section.int("width", default: s.width, in: 2...4096)
        s.heads = section.int("heads", default: s.heads, in: 1...256)
        s.layers = section.int("layers", default: s.layers, in: 1...64)
        s.inner = section.int("inner", default: s.inner, in: 1...65_536)
        s.dropout = section.double("dropout", default: s.dropout, in: 0...0.99)
        s.length = section.int("length", default: s.length, in: 2...10_000)
        if !s.width.isMultiple(of: 2 * s.heads), let node = section.value("width") ?? section.node {
            section.wrong(node, "width", "an even number for each of the \(s.heads) `heads:`")
        }
        if section.value("windows") != nil {
            s.windows =
                section.choice("windows", of: ["hour", "day", "week"], default: nil) == "hour"
                ? 3600 : section.string("windows") == "week" ? 7 * 86_400 : 86_400
        }
        s.optimiser = optimiser(s.optimiser)
        s.training = training(s.training)
        s.threads = threads(s.threads)
        // Otherwise it would be another model.
        if !isTransformers4Rec {
            s.masking =
                SessionTransformerSettings.Masking(
                    rawValue: section.choice(
                        "masking",
                        of: SessionTransformerSettings.Masking.allCases.map(\.rawValue),
                        default: s.masking.rawValue
                    )
                ) ?? s.masking
        }
        if !isTransformers4Rec {
            s.sampledNegatives = section.int("sampled-negatives", default: 0, in: 0...1_000_000)
        }
        guard s.masking == .mlm else { return s }
        s.maskProbability = section.double(
            "mask-probability",
            default: s.maskProbability,
            in: 0.001...0.999
        )
        return s
    }

    // MARK: what networks have in common

    private func optimiser(_ given: OptimiserSettings) -> OptimiserSettings {
        var s = given
        s.kind =
            OptimiserKind(
                rawValue: section.choice(
                    "optimizer",
                    of: OptimiserKind.allCases.map(\.rawValue),
                    default: s.kind.rawValue
                )
            ) ?? s.kind
        s.learningRate = section.double("learning-rate", default: s.learningRate, in: 1e-9...1000)
        s.schedule =
            OptimiserSettings.Schedule(
                rawValue: section.choice(
                    "schedule",
                    of: OptimiserSettings.Schedule.allCases.map(\.rawValue),
                    default: s.schedule.rawValue
                )
            ) ?? s.schedule
        s.warmUp = section.int("warm-up", default: s.warmUp, in: 0...1_000_000_000)
        s.weightDecay = section.double("weight-decay", default: s.weightDecay, in: 0...1000)
        s.clip = section.double("clip", default: s.clip, in: 0...1_000_000)
        return s
    }

    private func training(_ given: TrainingSettings) -> TrainingSettings {
        var s = given
        s.epochs = section.int("epochs", default: s.epochs, in: 1...10_000)
        s.batch = section.int("batch", default: s.batch, in: 2...1_000_000)
        s.seed = section.int("seed", default: s.seed, in: 0...Int(Int32.max))
        s.validateEvery = section.int("validate-every", default: s.validateEvery, in: 0...1 << 30)
        s.patience = section.int("patience", default: s.patience, in: 0...10_000)
        return s
    }

    private func threads(_ fallback: Int) -> Int {
        section.int("threads", default: fallback, in: 1...256)
    }

    private func layers(_ key: String, default fallback: [Int]) -> [Int] {
        guard let node = section.value(key) else { return fallback }
        let widths = node.sequence?.map(\.int) ?? [nil]
        let valid = widths.compactMap(\.self).filter { (1...16_384).contains($0) }
        guard valid.count == widths.count else {
            section.wrong(node, key, "a list of widths, like [128, 64]")
            return fallback
        }
        return valid
    }
}
