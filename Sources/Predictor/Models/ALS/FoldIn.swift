// SPDX-License-Identifier: Apache-2.0

/// How a vector is solved for from what its owner had.
package struct FoldIn: Sendable, Equatable {
    let regularization: Float
    let alpha: Float

    init(regularization: Float, alpha: Float) {
        self.regularization = regularization
        self.alpha = alpha
    }

    init(tensor: [Float]) { self.init(regularization: tensor[0], alpha: tensor[1]) }

    init(_ settings: ALSSettings) {
        self.init(
            regularization: Float(settings.regularization),
            alpha: Float(settings.alpha)
        )
    }
}

/// Solves (YᵀY + Yᵀ(C − 1)Y + λ) x = YᵀC p: Hu, Koren, Volinsky 2008, equation 4.
///
/// C is 1 + α · r for what was had, p is one there; nobody had the rest, which weighs one each.
struct FoldInSolver: Sendable {
    /// What was had at a time is bounded: rows of popular items are long.
    private static let block = 512

    /// One thread's memory.
    struct Scratch {
        var a: [Float]
        var rows: [Float]

        init(_ size: Int) {
            a = [Float](repeating: 0, count: size * size)
            rows = [Float](repeating: 0, count: FoldInSolver.block * size)
        }
    }

    private let columns: Matrix
    private let settings: FoldIn
    /// YᵀY + λ, the upper half of it.
    private let gram: [Float]

    init(_ columns: Matrix, _ settings: FoldIn) throws(PredictorError) {
        self.columns = columns
        self.settings = settings
        let size = columns.columns
        var gram = [Float](repeating: 0, count: size * size)
        BLAS.addGram(of: columns.values, count: columns.rows, size: size, to: &gram)
        for place in 0..<size { gram[place * size + place] += settings.regularization }
        guard gram.allSatisfy(\.isFinite) else {
            throw .input(
                "the vectors grew beyond all numbers",
                hint: "raise `model: regularization:`, or lower `alpha:`"
            )
        }
        self.gram = gram
    }

    /// The vector of someone who had this: zeros for nothing.
    func solve(_ had: ArraySlice<Ratings.Entry>, _ scratch: inout Scratch) throws(PredictorError)
        -> [Float]
    {
        let size = columns.columns
        var x = [Float](repeating: 0, count: size)
        guard !had.isEmpty else { return x }
        scratch.a = gram
        var first = had.startIndex
        while first < had.endIndex {
            let some = had[first..<min(first + Self.block, had.endIndex)]
            first = some.endIndex
            for (place, entry) in some.enumerated() {
                let row = Int(entry.column) * size
                let extra = settings.alpha * entry.weight
                let root = extra.squareRoot()
                for i in 0..<size {
                    let value = columns.values[row + i]
                    x[i] += (1 + extra) * value
                    scratch.rows[place * size + i] = root * value
                }
            }
            BLAS.addGram(of: scratch.rows, count: some.count, size: size, to: &scratch.a)
        }
        guard BLAS.solve(&scratch.a, &x) else {
            throw .input(
                "the equations of a vector have no single solution",
                hint: "raise `model: regularization:`"
            )
        }
        return x
    }
}
