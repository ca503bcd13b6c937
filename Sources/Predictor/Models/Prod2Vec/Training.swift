// SPDX-License-Identifier: Apache-2.0
private import CKernels
private import Executors
private import Foundation
private import Synchronization

/// One training, by several threads that share the tables.
struct Training {
    private let shared: Shared

    init(
        _ corpus: Corpus,
        _ tables: WordTables,
        _ settings: Prod2VecSettings,
        until share: Double,
        from state: Prod2Vec.State?
    ) {
        shared = Shared(corpus, tables, settings, until: share, from: state)
    }

    func run(_ progress: (Prod2Vec.Progress) throws -> Void) throws {
        try team(of: shared.settings.threads) {
            var trainer = Trainer(shared)
            while trainer.trainNextChunk() { try progress(shared.progress()) }
        } help: { [shared] in
            var trainer = Trainer(shared)
            while trainer.trainNextChunk() {}
        } stop: {
            shared.stop()
        }
        // The other threads may have ended later than this one.
        try progress(shared.progress(isLast: true))
    }
}

/// What the threads of one training share: all of it constant or atomic, but the tables.
private final class Shared: Sendable {
    let corpus: Corpus
    let tables: WordTables
    let settings: Prod2VecSettings
    /// The chance of each row to be kept, times 2^32; nil keeps all.
    let keep: [UInt32]?
    let negatives: AliasTable
    /// gensim's batch_words: after each, the learning rate is set anew.
    private let chunks: [Range<Int>]
    private let next: Atomic<Int>
    private let tokens: Atomic<Int>
    private let steps: Int
    /// Where this training stops, of all steps.
    private let end: Int
    private let stopped = Atomic<Bool>(false)

    init(
        _ corpus: Corpus,
        _ tables: WordTables,
        _ settings: Prod2VecSettings,
        until share: Double,
        from state: Prod2Vec.State?
    ) {
        self.corpus = corpus
        self.tables = tables
        self.settings = settings
        chunks = corpus.chunks(of: 10_000)
        steps = chunks.count * settings.epochs
        end = Int((Double(steps) * share).rounded(.up))
        next = Atomic(state?.step ?? 0)
        tokens = Atomic(state?.tokens ?? 0)
        keep = settings.sample > 0 ? Self.keep(corpus, sample: settings.sample) : nil
        negatives = AliasTable(
            weights: corpus.counts.map { pow(Double($0), settings.nsExponent) }
        )
    }

    private static func keep(_ corpus: Corpus, sample: Double) -> [UInt32] {
        let threshold = sample * Double(corpus.tokens.count)
        return corpus.counts.map { count in
            // gensim: (sqrt(count / threshold) + 1) · threshold / count.
            let ratio = threshold / Double(count)
            let probability = (1 / ratio).squareRoot() * ratio + ratio
            return probability < 1 ? UInt32(probability * 0x1p32) : .max
        }
    }

    /// The next chunk of all epochs, and its number; nil at the end.
    func take() -> (step: Int, sequences: Range<Int>)? {
        guard !stopped.load(ordering: .relaxed) else { return nil }
        let step = next.wrappingAdd(1, ordering: .relaxed).oldValue
        guard step < end else { return nil }
        return (step, chunks[step % chunks.count])
    }

    func finish(tokens count: Int) { tokens.wrappingAdd(count, ordering: .relaxed) }
    func stop() { stopped.store(true, ordering: .relaxed) }

    func alpha(atStep step: Int) -> Double {
        let fraction = Double(step) / Double(steps)
        return max(
            settings.minAlpha,
            settings.alpha - (settings.alpha - settings.minAlpha) * fraction
        )
    }

    func progress(isLast: Bool = false) -> Prod2Vec.Progress {
        let step = min(next.load(ordering: .relaxed), end)
        let tokens = tokens.load(ordering: .relaxed)
        return Prod2Vec.Progress(
            fraction: Double(step) / Double(steps),
            tokens: tokens,
            alpha: alpha(atStep: step),
            isLast: isLast
        ) { [self] in
            Prod2Vec.State(
                step: step,
                tokens: tokens,
                input: tables.vectors(.input),
                output: tables.vectors(.output)
            )
        }
    }
}

/// One thread's buffers.
@safe private struct Trainer {
    private let shared: Shared
    // Of what is shared, for each word: what a class holds is counted at each look.
    private let tokens: [UInt32]
    private let offsets: [Int]
    private let chances: [UInt32]?
    private let draws: AliasTable
    private let tables: WordTables
    private let settings: Prod2VecSettings
    /// Words of a sentence that the kernel gets at a time, so that their negatives are few.
    private let part: Int
    private var kept: [UInt32] = []
    private var reach: [UInt32] = []
    private var negatives: [UInt32] = []
    private let scratch = Arena()
    private let scratchStart: UnsafeMutablePointer<Float>

    init(_ shared: Shared) {
        self.shared = shared
        (tokens, offsets, chances) = (shared.corpus.tokens, shared.corpus.offsets, shared.keep)
        (draws, tables, settings) = (shared.negatives, shared.tables, shared.settings)
        let drawn = settings.negative * (settings.skipGram ? 2 * settings.window : 1)
        part = max(1, (1 << 16) / drawn)
        unsafe scratchStart = scratch.take(Float.self, 2 * shared.tables.stride)
    }

    mutating func trainNextChunk() -> Bool {
        guard let (step, sequences) = shared.take() else { return false }
        // Seeded by the chunk, not by the thread: which thread gets it is chance.
        var generator = SeededGenerator(seed: shared.settings.seed, stream: step + 1)
        let alpha = Float(shared.alpha(atStep: step))
        for sequence in sequences {
            keep(offsets[sequence]..<offsets[sequence + 1], &generator)
            // A word alone teaches nothing.
            if kept.count < 2 { continue }
            for first in stride(from: 0, to: kept.count, by: part) {
                train(first..<min(first + part, kept.count), alpha, &generator)
            }
        }
        shared.finish(tokens: offsets[sequences.upperBound] - offsets[sequences.lowerBound])
        return true
    }

    /// What subsampling leaves of a sentence.
    private mutating func keep(_ sentence: Range<Int>, _ generator: inout SeededGenerator) {
        kept.removeAll(keepingCapacity: true)
        guard let chances else {
            kept.append(contentsOf: tokens[sentence])
            return
        }
        for place in sentence {
            let row = tokens[place]
            if chances[Int(row)] >= UInt32(truncatingIfNeeded: generator.next() >> 32) {
                kept.append(row)
            }
        }
    }

    /// Predicts the words of a part of the sentence.
    private mutating func train(
        _ part: Range<Int>,
        _ alpha: Float,
        _ generator: inout SeededGenerator
    ) {
        reach.removeAll(keepingCapacity: true)
        var steps = part.count
        for center in part {
            let reached = settings.window - generator.index(below: settings.window)
            reach.append(UInt32(reached))
            if settings.skipGram {
                steps += min(kept.count - 1, center + reached) - max(0, center - reached)
            }
        }
        // The kernel fetches the rows of two steps more than it makes.
        draws.draw((steps + 2) * settings.negative, into: &negatives, &generator)
        unsafe kept.withUnsafeBufferPointer { kept in
            unsafe reach.withUnsafeBufferPointer { reach in
                unsafe negatives.withUnsafeBufferPointer { negatives in
                    var windows = unsafe larder_word2vec(
                        input: tables.input,
                        output: tables.output,
                        stride: tables.stride,
                        words: kept.baseAddress,
                        reach: reach.baseAddress,
                        count: kept.count,
                        first: part.lowerBound,
                        last: part.upperBound,
                        negatives: negatives.baseAddress,
                        negative: settings.negative,
                        alpha: alpha,
                        skip_gram: settings.skipGram ? 1 : 0,
                        scratch: scratchStart
                    )
                    unsafe larder_word2vec(&windows)
                }
            }
        }
    }
}
