// SPDX-License-Identifier: Apache-2.0
// prod2vec (Grbovic et al. 2015): word2vec with a user's or a session's items as the sentence.
// Semantics follow gensim 4 (word2vec_inner.pyx), so that its users find what they know: CBOW or
// skip-gram, negative sampling, windows that shrink at random, frequent-item subsampling, a
// linear learning rate over all epochs.
private import CKernels
private import Dispatch
private import Foundation
private import Synchronization

package enum Prod2Vec {
    package static let kind = "prod2vec"

    /// What training tells while it runs.
    package struct Progress: Sendable {
        /// 0 to 1, over all epochs.
        package let fraction: Double
        /// Items trained on so far, before subsampling.
        package let tokens: Int
        package let alpha: Double
    }

    /// Trains on the sequences of the given parts.
    ///
    /// `progress` is called on the calling thread, a few times a second or less; it may throw to
    /// stop the training.
    package static func train(
        _ dataset: Dataset,
        on parts: Set<Part>,
        _ settings: Prod2VecSettings,
        progress: (Progress) throws -> Void = { _ in }
    ) throws -> RetrievalModel {
        let corpus = try Corpus(dataset, parts: parts, settings)
        let network = Network(rows: corpus.items.count, settings)
        try network.train(corpus, settings, progress)
        var vectors = Matrix(
            rows: corpus.items.count,
            columns: settings.vectorSize,
            values: network.inputs()
        )
        vectors.normaliseRows()
        return RetrievalModel(
            kind: kind,
            vectors: vectors,
            items: corpus.items,
            itemCount: dataset.items.count
        )
    }
}

/// Sequences as rows of the network: items below min-count are left out, as in gensim.
private struct Corpus: Sendable {
    /// The dataset's item of each row, most frequent first.
    let items: [Int32]
    /// How often each row's item occurs.
    let counts: [Int]
    let tokens: [UInt32]
    let offsets: [Int]

    init(_ dataset: Dataset, parts: Set<Part>, _ settings: Prod2VecSettings) throws(PredictorError)
    {
        let itemCounts = dataset.itemCounts(in: parts)
        let kept = itemCounts.indices.filter {
            itemCounts[$0] > 0 && itemCounts[$0] >= settings.minCount
        }.sorted {
            itemCounts[$0] != itemCounts[$1] ? itemCounts[$0] > itemCounts[$1] : $0 < $1
        }
        guard !kept.isEmpty else {
            throw .input(
                """
                none of the \(itemCounts.count) items occurs at least \(settings.minCount) times \
                (the most frequent: \(itemCounts.max() ?? 0))
                """,
                hint: "lower `model: min-count:`, or bring more events"
            )
        }
        var rowOf = [Int32](repeating: -1, count: itemCounts.count)
        for (row, item) in kept.enumerated() { rowOf[item] = Int32(row) }
        let wanted = parts.map(\.rawValue)
        var tokens: [UInt32] = []
        var offsets = [0]
        for sequence in 0..<dataset.sequenceCount {
            for event in dataset.events(ofSequence: sequence)
            where wanted.contains(dataset.eventParts[event]) {
                let row = rowOf[Int(dataset.eventItems[event])]
                if row >= 0 { tokens.append(UInt32(row)) }
            }
            if tokens.count > offsets[offsets.count - 1] { offsets.append(tokens.count) }
        }
        items = kept.map { Int32($0) }
        counts = kept.map { itemCounts[$0] }
        self.tokens = tokens
        self.offsets = offsets
    }

    /// Ranges of sequences with about `size` tokens each: gensim's batches, after each of which
    /// the learning rate is set anew.
    func chunks(of size: Int) -> [Range<Int>] {
        var chunks: [Range<Int>] = []
        var start = 0
        for sequence in 1..<offsets.count where offsets[sequence] - offsets[start] >= size {
            chunks.append(start..<sequence)
            start = sequence
        }
        if start < offsets.count - 1 { chunks.append(start..<offsets.count - 1) }
        return chunks
    }
}

/// The two tables of word2vec and how they are trained.
@safe private struct Network: ~Copyable {
    private let rows: Int
    private let size: Int
    /// rows × size each: syn0 and syn1neg in gensim.
    private let input: UnsafeMutablePointer<Float>
    private let output: UnsafeMutablePointer<Float>

    init(rows: Int, _ settings: Prod2VecSettings) {
        self.rows = rows
        size = settings.vectorSize
        unsafe input = .allocate(capacity: rows * size)
        unsafe output = .allocate(capacity: rows * size)
        unsafe output.initialize(repeating: 0, count: rows * size)
        // gensim: uniform in [-1, 1), divided by the vector size.
        var generator = SeededGenerator(seed: settings.seed)
        for place in 0..<rows * size {
            unsafe input[place] = (generator.unitFloat() * 2 - 1) / Float(size)
        }
    }

    deinit {
        unsafe input.deallocate()
        unsafe output.deallocate()
    }

    func inputs() -> [Float] {
        unsafe Array(UnsafeBufferPointer(start: input, count: rows * size))
    }

    borrowing func train(
        _ corpus: Corpus,
        _ settings: Prod2VecSettings,
        _ progress: (Prod2Vec.Progress) throws -> Void
    ) throws {
        // gensim's batch_words.
        let chunks = corpus.chunks(of: 10_000)
        let steps = chunks.count * settings.epochs
        let sampling = Sampling(corpus, settings)
        let shared = unsafe Shared(
            input: input,
            output: output,
            corpus: corpus,
            sampling: sampling,
            settings: settings,
            chunks: chunks
        )
        // A group of threads of its own for hogwild; with one thread all work is done right here.
        let helpers = DispatchGroup()
        for thread in 1..<max(1, settings.threads) {
            let queue = DispatchQueue(label: "larder.prod2vec.\(thread)")
            queue.async(group: helpers) {
                var trainer = Trainer(shared)
                while trainer.trainNextChunk() {}
            }
        }
        var trainer = Trainer(shared)
        do {
            while trainer.trainNextChunk() {
                let (done, tokens) = shared.progress
                let fraction = Double(min(done, steps)) / Double(steps)
                try progress(
                    Prod2Vec.Progress(
                        fraction: fraction,
                        tokens: tokens,
                        alpha: shared.alpha(atStep: done)
                    )
                )
            }
        } catch {
            shared.stop()
            helpers.wait()
            throw error
        }
        helpers.wait()
    }
}

/// Which items are skipped, and which are drawn as negatives.
private struct Sampling: Sendable {
    /// The chance of each row to be kept, times 2^32; nil keeps all.
    let keep: [UInt32]?
    let negatives: AliasTable

    init(_ corpus: Corpus, _ settings: Prod2VecSettings) {
        let total = Double(corpus.tokens.count)
        if settings.sample > 0 {
            let threshold = settings.sample * total
            keep = corpus.counts.map { count in
                // gensim: (sqrt(count / threshold) + 1) · threshold / count.
                let ratio = threshold / Double(count)
                let probability = (1 / ratio).squareRoot() * ratio + ratio
                return probability < 1 ? UInt32(probability * 0x1p32) : .max
            }
        } else {
            keep = nil
        }
        negatives = AliasTable(
            weights: corpus.counts.map { pow(Double($0), settings.nsExponent) }
        )
    }
}

/// What the threads of one training share.
///
/// The tables are read and written without locks, which is the point of hogwild (Niu et al. 2011);
/// everything else is constant or atomic.
@safe private final class Shared: Sendable {
    nonisolated(unsafe) let input: UnsafeMutablePointer<Float>
    nonisolated(unsafe) let output: UnsafeMutablePointer<Float>
    let corpus: Corpus
    let sampling: Sampling
    let settings: Prod2VecSettings
    /// word2vec's table: 1,000 values over [-6, 6).
    let sigmoid: [Float]
    private let chunks: [Range<Int>]
    private let next = Atomic<Int>(0)
    private let tokens = Atomic<Int>(0)
    private let stopped = Atomic<Bool>(false)

    init(
        input: UnsafeMutablePointer<Float>,
        output: UnsafeMutablePointer<Float>,
        corpus: Corpus,
        sampling: Sampling,
        settings: Prod2VecSettings,
        chunks: [Range<Int>]
    ) {
        unsafe self.input = input
        unsafe self.output = output
        self.corpus = corpus
        self.sampling = sampling
        self.settings = settings
        self.chunks = chunks
        sigmoid = (0..<1000).map { place in
            let power = exp((Float(place) / 1000 * 2 - 1) * 6)
            return power / (power + 1)
        }
    }

    /// The next chunk of all epochs, and its number; nil at the end.
    func take() -> (step: Int, sequences: Range<Int>)? {
        guard !stopped.load(ordering: .relaxed) else { return nil }
        let step = next.wrappingAdd(1, ordering: .relaxed).oldValue
        guard step < chunks.count * settings.epochs else { return nil }
        return (step, chunks[step % chunks.count])
    }

    func finish(tokens count: Int) { tokens.wrappingAdd(count, ordering: .relaxed) }
    func stop() { stopped.store(true, ordering: .relaxed) }

    var progress: (done: Int, tokens: Int) {
        (next.load(ordering: .relaxed), tokens.load(ordering: .relaxed))
    }

    func alpha(atStep step: Int) -> Double {
        let fraction = Double(step) / Double(chunks.count * settings.epochs)
        return max(
            settings.minAlpha,
            settings.alpha - (settings.alpha - settings.minAlpha) * fraction
        )
    }
}

/// One thread's buffers.
private struct Trainer {
    private let shared: Shared
    private var kept: [UInt32] = []
    private var context: [UInt32] = []
    private var targets: [UInt32] = []
    private var hidden: [Float]
    private var error: [Float]

    init(_ shared: Shared) {
        self.shared = shared
        hidden = [Float](repeating: 0, count: shared.settings.vectorSize)
        error = hidden
    }

    mutating func trainNextChunk() -> Bool {
        guard let (step, sequences) = shared.take() else { return false }
        // Seeded by the chunk, not by the thread: which thread gets it is chance.
        var generator = SeededGenerator(seed: shared.settings.seed, stream: step + 1)
        let alpha = Float(shared.alpha(atStep: step))
        let offsets = shared.corpus.offsets
        for sequence in sequences {
            train(offsets[sequence]..<offsets[sequence + 1], alpha, &generator)
        }
        shared.finish(tokens: offsets[sequences.upperBound] - offsets[sequences.lowerBound])
        return true
    }

    private mutating func train(
        _ sentence: Range<Int>,
        _ alpha: Float,
        _ generator: inout SeededGenerator
    ) {
        kept.removeAll(keepingCapacity: true)
        for place in sentence {
            let row = shared.corpus.tokens[place]
            if let keep = shared.sampling.keep,
                keep[Int(row)] < UInt32(truncatingIfNeeded: generator.next() >> 32)
            {
                continue
            }
            kept.append(row)
        }
        for center in kept.indices {
            let reach = shared.settings.window - generator.index(below: shared.settings.window)
            let first = max(0, center - reach)
            let last = min(kept.count - 1, center + reach)
            guard first < last else { continue }
            if shared.settings.skipGram {
                for place in first...last where place != center {
                    context.removeAll(keepingCapacity: true)
                    context.append(kept[place])
                    step(predicting: kept[center], alpha, &generator)
                }
            } else {
                context.removeAll(keepingCapacity: true)
                for place in first...last where place != center { context.append(kept[place]) }
                step(predicting: kept[center], alpha, &generator)
            }
        }
    }

    /// Predicts `center` from the mean of `context`'s input vectors, and moves both.
    private mutating func step(
        predicting center: UInt32,
        _ alpha: Float,
        _ generator: inout SeededGenerator
    ) {
        targets.removeAll(keepingCapacity: true)
        targets.append(center)
        for _ in 0..<shared.settings.negative {
            let negative = shared.sampling.negatives.draw(&generator)
            if negative != center { targets.append(negative) }
        }
        let size = shared.settings.vectorSize
        for place in error.indices { error[place] = 0 }
        unsafe larder_sum_rows(
            shared.input,
            context,
            context.count,
            size,
            1 / Float(context.count),
            &hidden
        )
        unsafe larder_negative_sampling(
            hidden,
            &error,
            shared.output,
            targets,
            targets.count,
            size,
            alpha,
            shared.sigmoid
        )
        unsafe larder_add_to_rows(shared.input, context, context.count, size, error)
    }
}
