// SPDX-License-Identifier: Apache-2.0
private import Glibc

/// Sums over queries, as they are and over draws of the queries with replacement.
///
/// A draw counts each query as often as a Poisson variable of mean one says (Chamandy, Muralidharan,
/// Najmi and Naidu 2012), which needs no second look at the queries, and takes sums that are a matrix
/// product. How often depends on nothing but the query's number: whoever is measured on the same
/// queries, at whatever time, is measured on the same draws, and differences are paired.
struct Resampling {
    static let draws = 1000
    /// Queries of one product.
    private static let block = 256

    let columns: Int
    private(set) var sums: [Double]
    /// draws × columns.
    private(set) var drawn: [Double]
    private var queries = 0
    /// How often each query of a block is in each draw: queries × draws.
    private let counts = RowBuffer(rows: block, columns: draws)
    private let values: RowBuffer
    private let products: RowBuffer

    init(columns: Int) {
        self.columns = columns
        sums = [Double](repeating: 0, count: columns)
        drawn = [Double](repeating: 0, count: Self.draws * columns)
        values = RowBuffer(rows: Self.block, columns: columns)
        products = RowBuffer(rows: Self.draws, columns: columns)
    }

    /// Adds the next queries: `rows` holds a row of columns each.
    mutating func add(_ rows: [Float]) {
        precondition(rows.count.isMultiple(of: columns), "whole rows")
        let count = rows.count / columns
        for first in stride(from: 0, to: count, by: Self.block) {
            add(rows, first..<min(first + Self.block, count))
        }
    }

    private mutating func add(_ rows: [Float], _ range: Range<Int>) {
        for (place, row) in range.enumerated() {
            for column in 0..<columns {
                let value = rows[row * columns + column]
                unsafe values.start[place * columns + column] = value
                sums[column] += Double(value)
            }
            unsafe Self.count(query: queries + place, into: counts.row(place))
        }
        queries += range.count
        BLAS.multiply(
            MatrixView(counts, rows: 0..<range.count).transposed,
            MatrixView(values, rows: 0..<range.count),
            into: MatrixView(products, rows: 0..<Self.draws)
        )
        for place in drawn.indices { drawn[place] += Double(unsafe products.start[place]) }
    }

    /// How often a query is in each draw.
    @unsafe private static func count(query: Int, into counts: UnsafeMutablePointer<Float>) {
        var generator = SeededGenerator(seed: 1, stream: query)
        for first in stride(from: 0, to: draws, by: 4) {
            let bits = generator.next()
            for place in 0..<4 {
                unsafe counts[first + place] = Float(
                    quantiles[Int(bits >> UInt64(16 * place) & 0xffff)]
                )
            }
        }
    }

    /// The quantile of a Poisson variable of mean one for each 16 bits.
    private static let quantiles: [UInt8] = {
        var term = exp(-1.0)
        var below = term
        var value: UInt8 = 0
        return (0..<65_536).map { step in
            while (Double(step) + 0.5) / 65_536 > below, value < 12 {
                value += 1
                term /= Double(value)
                below += term
            }
            return value
        }
    }()

    /// The sum of a column over that of another.
    func ratio(_ numerator: Int, of denominator: Int) -> Replicated {
        replicated { $0(numerator) / $0(denominator) }
    }

    /// Whatever is worked out from sums.
    func replicated(_ figure: ((Int) -> Double) -> Double) -> Replicated {
        Replicated(
            figure { sums[$0] },
            (0..<Self.draws).map { draw in figure { drawn[draw * columns + $0] } }
        )
    }
}
