// SPDX-License-Identifier: Apache-2.0
private import Tables

/// The softmax over items that a session model learns by, and what moves their embeddings: this
/// loss, and the rows that were read.
@safe protocol ItemLoss: AnyObject {
    /// From now on these items are met, each so often.
    func meet(_ counts: [Int])
    /// Takes the items of a step, which are to be found.
    func aim(at items: [Int32], step: Int)
    /// What they are to be found among: codes; nil: all of the table, in its order.
    var candidates: [Int32]? { get }
    /// Of the candidates.
    var targets: ContrastiveLoss.Targets { get }
    /// The mean loss of finding an item from each vector; with the gradient of the vectors.
    func run(_ vectors: RowBuffer, gradient: RowBuffer) -> Double
    /// Adds the gradient of the items that were read: the last columns of each row of an input.
    func add(_ input: RowBuffer, of codes: [Int32])
    /// The sum of the squares of the embeddings' gradients.
    var squares: Double { get }
    func update(_ optimiser: Optimiser)
}

/// Over all items that training met; Transformers4Rec's also over padding, null and unknown.
@safe final class WholeItemLoss: ItemLoss {
    private let items: Embedding
    private let settings: SessionTransformerSettings
    private let loss: ContrastiveLoss
    private(set) var targets = ContrastiveLoss.Targets()
    private lazy var gradient = RowBuffer(rows: items.table.rows, columns: items.width)

    init(_ items: Embedding, _ settings: SessionTransformerSettings) {
        self.items = items
        self.settings = settings
        loss = ContrastiveLoss(columns: items.width, temperature: 1, threads: settings.threads)
    }

    func meet(_ counts: [Int]) {
        guard !settings.isTransformers4Rec else {
            targets.bias = [Float](repeating: 0, count: items.table.rows)
            return
        }
        // What training does not meet cannot be chosen, nor what is no item.
        targets.bias = [Float](repeating: -.infinity, count: Int(Code.first(hashBuckets: 0)))
        targets.bias += counts.map { $0 > 0 ? 0 : -.infinity }
    }

    var candidates: [Int32]? { nil }

    func aim(at items: [Int32], step: Int) { aim(at: items) }

    private func aim(at items: [Int32]) {
        targets.target = items.map { $0 + Code.first(hashBuckets: 0) }
        targets.targetBias = [Float](repeating: 0, count: items.count)
    }

    func run(_ vectors: RowBuffer, gradient dq: RowBuffer) -> Double {
        let table = items.table
        return loss.run(vectors, table.values, targets, dq: dq, dc: gradient, rowsOfC: table.rows)
    }

    /// The mean loss alone.
    func value(_ vectors: RowBuffer, _ items: [Int32]) -> Double {
        aim(at: items)
        let (dq, none) = (RowBuffer(columns: vectors.columns), RowBuffer(columns: vectors.columns))
        return loss.run(vectors, self.items.table.values, targets, dq: dq, dc: none, rowsOfC: 0)
    }

    func add(_ input: RowBuffer, of codes: [Int32]) {
        items.use(codes)
        items.add(
            input,
            column: input.columns - items.width,
            to: gradient,
            except: settings.skippedCode
        )
    }

    private var gradients: [Gradient] { [Gradient(items.table, gradient)] }

    var squares: Double { gradients.squares }

    func update(_ optimiser: Optimiser) { gradients.update(optimiser, threads: settings.threads) }
}

/// Over the items of the batch and some that are drawn, where all would take too long.
///
/// Only embeddings that are used are moved.
@safe final class SampledItemLoss: ItemLoss {
    private let items: Embedding
    private let settings: SessionTransformerSettings
    private let loss: ContrastiveLoss
    private var chosen: Candidates
    private let vectors: RowBuffer
    private let candidateGradient: RowBuffer
    /// Of the candidates, then of the rows that were read.
    private let gradient: RowBuffer

    init(_ items: Embedding, _ settings: SessionTransformerSettings) {
        self.items = items
        self.settings = settings
        loss = ContrastiveLoss(columns: items.width, temperature: 1, threads: settings.threads)
        chosen = Candidates([], settings.candidates)
        vectors = RowBuffer(columns: items.width)
        candidateGradient = RowBuffer(columns: items.width)
        gradient = RowBuffer(columns: items.width)
    }

    func meet(_ counts: [Int]) { chosen = Candidates(counts, settings.candidates) }

    func aim(at items: [Int32], step: Int) { chosen.fill(items, step: step) }

    private var candidateCodes: [Int32] { chosen.items.map { $0 + Code.first(hashBuckets: 0) } }
    var candidates: [Int32]? { candidateCodes }
    var targets: ContrastiveLoss.Targets { chosen.targets }

    func run(_ queries: RowBuffer, gradient dq: RowBuffer) -> Double {
        vectors.gather(candidateCodes, of: items.table.values)
        return loss.run(
            queries,
            vectors,
            targets,
            dq: dq,
            dc: candidateGradient,
            rowsOfC: vectors.rows
        )
    }

    func add(_ input: RowBuffer, of codes: [Int32]) {
        let count = candidateGradient.rows
        items.use(candidateCodes + codes)
        gradient.resize(rows: count + codes.count)
        unsafe gradient.start.update(from: candidateGradient.start, count: candidateGradient.count)
        let column = input.columns - items.width
        for row in codes.indices {
            unsafe gradient.row(count + row).update(
                from: input.row(row) + column,
                count: items.width
            )
        }
    }

    var squares: Double { items.squares(gradient, column: 0) }

    func update(_ optimiser: Optimiser) {
        items.update(gradient, column: 0, optimiser, threads: settings.threads)
    }
}
