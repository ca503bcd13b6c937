// SPDX-License-Identifier: Apache-2.0
import CKernels
import Foundation
import Testing

@testable import Predictor

/// Parts of a transformer beside plain Swift in double precision, and their gradients beside finite
/// differences; with dropout, and at any width.
struct TransformerKernelTests {
    private func values(_ count: Int, _ generator: inout SeededGenerator) -> [Double] {
        (0..<count).map { _ in Double(generator.unitFloat() * 2 - 1) }
    }

    private func buffer(_ values: [Double], columns: Int) -> RowBuffer {
        let buffer = RowBuffer(rows: values.count / columns, columns: columns)
        buffer.fill(values.map { Float($0) })
        return buffer
    }

    private func expectEqual(
        _ found: [Float],
        _ wanted: [Double],
        _ what: String,
        _ location: SourceLocation = #_sourceLocation
    ) {
        #expect(found.count == wanted.count, sourceLocation: location)
        for (place, (a, b)) in zip(found, wanted).enumerated()
        where !(abs(Double(a) - b) <= 3e-4 * (1 + abs(b))) {
            Issue.record("\(what) \(place): \(a) is not \(b)", sourceLocation: location)
            return
        }
    }

    private func slopes(_ values: [Double], _ number: ([Double]) -> Double) -> [Double] {
        let step = 1e-5
        return values.indices.map { place in
            var (more, less) = (values, values)
            more[place] += step
            less[place] -= step
            return (number(more) - number(less)) / (2 * step)
        }
    }

    private func inner(_ a: [Double], _ b: [Double]) -> Double {
        zip(a, b).reduce(0) { $0 + $1.0 * $1.1 }
    }

    /// What dropout multiplies the value at a place with.
    private func open(_ kernel: larder_dropout, _ row: Int, _ column: Int, columns: Int) -> Double {
        guard kernel.closed > 0 else { return 1 }
        var x = UInt32(truncatingIfNeeded: (kernel.first + row) * columns + column) ^ kernel.seed
        x = (x ^ x >> 16) &* 0x7feb_352d
        x = (x ^ x >> 15) &* 0x846c_a68b
        return (x ^ x >> 16) >= kernel.closed ? Double(kernel.scale) : 0
    }

    // MARK: GELU

    @Test(arguments: [1, 5, 16, 37], [0, 0.4])
    func `gelu and its gradient`(_ columns: Int, _ rate: Double) {
        var generator = SeededGenerator(seed: columns)
        let rows = 6
        let x = values(rows * columns, &generator).map { $0 * 6 }
        let bias = values(columns, &generator)
        let aim = values(rows * columns, &generator)
        var kernel = Dropout(rate: rate, seed: 3).kernel(step: 7, first: 11)
        func plain(_ x: [Double]) -> [Double] {
            x.indices.map { place in
                let value = x[place] + bias[place % columns]
                return value * 0.5 * (1 + erf(value / 2.0.squareRoot()))
                    * open(kernel, place / columns, place % columns, columns: columns)
            }
        }
        let (input, output) = (buffer(x, columns: columns), RowBuffer(rows: rows, columns: columns))
        let biases = buffer(bias, columns: columns)
        unsafe larder_gelu(
            input.start,
            biases.start,
            output.start,
            rows,
            columns,
            &kernel
        )
        expectEqual(output.values, plain(x), "value")
        let gradient = buffer(aim, columns: columns)
        unsafe larder_gelu_back(gradient.start, input.start, rows, columns, &kernel)
        expectEqual(gradient.values, slopes(x) { inner(plain($0), aim) }, "slope")
        withExtendedLifetime((input, output, biases, gradient)) {}
    }

    // MARK: layer norm

    @Test(arguments: [2, 7, 16, 50], [0, 0.4])
    func `layer norm and its gradients`(_ columns: Int, _ rate: Double) {
        var generator = SeededGenerator(seed: columns)
        let rows = 5
        let norm = LayerNorm(columns: columns, epsilon: 0.03, for: .sgd)
        let a = values(rows * columns, &generator)
        let x = values(rows * columns, &generator)
        let bias = values(columns, &generator)
        let gain = values(columns, &generator)
        let shift = values(columns, &generator)
        let aim = values(rows * columns, &generator)
        norm.gain.values.fill(gain.map { Float($0) })
        norm.shift.values.fill(shift.map { Float($0) })
        let kernel = Dropout(rate: rate, seed: 3).kernel(step: 7, first: 11)
        func sum(_ a: [Double]) -> [Double] {
            a.indices.map { place in
                x[place] + (a[place] + bias[place % columns])
                    * open(kernel, place / columns, place % columns, columns: columns)
            }
        }
        func plain(_ z: [Double], _ gain: [Double], _ shift: [Double]) -> [Double] {
            (0..<rows).flatMap { row in
                let z = z[row * columns..<(row + 1) * columns]
                let mean = z.reduce(0, +) / Double(columns)
                let variance = z.reduce(0) { $0 + ($1 - mean) * ($1 - mean) } / Double(columns)
                return zip(z, zip(gain, shift)).map { value, weights in
                    (value - mean) / (variance + 0.03).squareRoot() * weights.0 + weights.1
                }
            }
        }
        let output = RowBuffer(columns: columns)
        let biases = Parameter(rows: 1, columns: columns, for: .sgd) { 0 }
        biases.values.fill(bias.map { Float($0) })
        norm.forward(
            buffer(a, columns: columns),
            bias: biases,
            plus: buffer(x, columns: columns),
            into: output,
            kernel
        )
        expectEqual(output.values, plain(sum(a), gain, shift), "value")
        let dz = RowBuffer(columns: columns)
        norm.backward(buffer(aim, columns: columns), into: dz)
        let z = sum(a)
        expectEqual(dz.values, slopes(z) { inner(plain($0, gain, shift), aim) }, "z")
        let gradients = norm.gradients.map(\.values.values)
        expectEqual(gradients[0], slopes(gain) { inner(plain(z, $0, shift), aim) }, "gain")
        expectEqual(gradients[1], slopes(shift) { inner(plain(z, gain, $0), aim) }, "shift")
    }

    // MARK: attention

    struct Shape: CustomTestStringConvertible, Sendable {
        var lengths: [Int]
        var width: Int
        var heads: Int
        var isCausal = false
        var selects = false
        var dropout = 0.0

        var testDescription: String { "\(self)" }
    }

    private static let shapes = [
        Shape(lengths: [1], width: 2, heads: 1),
        Shape(lengths: [4, 1, 3], width: 6, heads: 2),
        Shape(lengths: [2, 5], width: 8, heads: 2, isCausal: true),
        Shape(lengths: [3, 4, 2], width: 8, heads: 1, selects: true),
        Shape(lengths: [5, 2], width: 8, heads: 4, isCausal: true, selects: true, dropout: 0.4),
        Shape(lengths: [18, 9, 1], width: 32, heads: 2, dropout: 0.3),
        Shape(lengths: [3, 20], width: 40, heads: 2, isCausal: true, selects: true),
    ]

    @Test(arguments: shapes)
    func `attention and its gradients`(_ shape: Shape) {
        var generator = SeededGenerator(seed: shape.width)
        var settings = TransformerSettings()
        settings.width = shape.width
        settings.heads = shape.heads
        settings.isCausal = shape.isCausal
        settings.dropout = shape.dropout
        settings.deviation = 0.5
        let attention = RelativeAttention(settings, for: .sgd, &generator)
        var sequences = Sequences()
        var selected = SelectedRows()
        for length in shape.lengths {
            // Of one sequence nothing.
            let positions = shape.selects && length != 2 ? [0, Int32(length) - 1] : []
            selected.append(positions, first: sequences.rows)
            sequences.append(length: length)
        }
        let pass = TransformerPass(step: 5, firstRow: 3, firstSelected: 9)
        let x = values(sequences.rows * shape.width, &generator)
        let rows = shape.selects ? selected.rows.map { Int($0) } : Array(0..<sequences.rows)
        let aim = values(rows.count * shape.width, &generator)
        let names = attention.parameters("").map(\.name)
        let weights = attention.parameters("").map {
            $0.parameter.values.values.map { Double($0) }
        }
        let twin = PlainAttention(
            settings,
            shape.lengths,
            rows,
            probabilities: attention.dropout.kernel(step: 5, first: shape.selects ? 9 : 3),
            positions: attention.positionDropout.kernel(
                step: 5,
                first: (1 << 20) - sequences.longest
            ),
            open
        )

        let (input, output) = (buffer(x, columns: shape.width), RowBuffer(columns: shape.width))
        let queries = RowBuffer(columns: shape.width)
        queries.gather(rows.map { Int32($0) }, of: input)
        let chosen = shape.selects ? selected : nil
        attention.forward(input, sequences, queries: queries, chosen, into: output, pass)
        expectEqual(output.values, twin.run(x, weights), "value")

        let (dQueries, dx) = (
            RowBuffer(rows: rows.count, columns: shape.width),
            RowBuffer(rows: sequences.rows, columns: shape.width)
        )
        attention.backward(
            buffer(aim, columns: shape.width),
            x: input,
            sequences,
            queries: queries,
            chosen,
            dQueries: dQueries,
            dx: dx,
            pass
        )
        dx.scatter(dQueries, to: rows.map { Int32($0) })
        // In larger shapes along a few directions, for each number would take too long.
        let isSmall = sequences.rows < 20
        func check(
            _ found: [Float],
            _ values: [Double],
            _ what: String,
            _ y: ([Double]) -> [Double]
        ) {
            if isSmall {
                return expectEqual(found, slopes(values) { inner(y($0), aim) }, what)
            }
            for _ in 0..<3 {
                let direction = self.values(values.count, &generator)
                let slope = slopes([0]) { step in
                    inner(y(zip(values, direction).map { $0 + step[0] * $1 }), aim)
                }
                let along = zip(found, direction).reduce(0) { $0 + Double($1.0) * $1.1 }
                #expect(abs(along - slope[0]) < 1e-3 * (1 + abs(slope[0])), "\(what)")
            }
        }
        check(dx.values, x, "x") { twin.run($0, weights) }
        for (place, gradient) in attention.gradients.enumerated() {
            #expect(gradient.parameter === attention.parameters("")[place].parameter)
            check(gradient.values.values, weights[place], names[place]) {
                var changed = weights
                changed[place] = $0
                return twin.run(x, changed)
            }
        }
    }
}

/// Attention as its formula says, one number after the other.
private struct PlainAttention {
    let settings: TransformerSettings
    let lengths: [Int]
    /// Those that ask.
    let rows: [Int]
    let probabilities: larder_dropout
    let positions: larder_dropout
    let open: (larder_dropout, _ row: Int, _ column: Int, _ columns: Int) -> Double

    init(
        _ settings: TransformerSettings,
        _ lengths: [Int],
        _ rows: [Int],
        probabilities: larder_dropout,
        positions: larder_dropout,
        _ open: @escaping (larder_dropout, Int, Int, Int) -> Double
    ) {
        self.settings = settings
        self.lengths = lengths
        self.rows = rows
        self.probabilities = probabilities
        self.positions = positions
        self.open = open
    }

    /// row · W, for a W of so many columns, of which some.
    private func product(
        _ row: ArraySlice<Double>,
        _ weight: [Double],
        columns: Int,
        from: Int = 0
    ) -> [Double] {
        (0..<settings.width).map { c in
            row.enumerated().reduce(0) { $0 + $1.element * weight[$1.offset * columns + from + c] }
        }
    }

    /// Numbered by query and head, far from each other.
    private func isOpen(_ query: Int, _ head: Int, _ key: Int) -> Double {
        var kernel = probabilities
        let row = (kernel.first + query) * settings.heads + head
        kernel.first = 0
        return open(kernel, 0, Int(UInt32(truncatingIfNeeded: row) &* 0x9e37_79b1) + key, 1)
    }

    /// `weights`: Q, K beside V, R, O, u, w.
    func run(_ x: [Double], _ weights: [[Double]]) -> [Double] {
        let (width, longest) = (settings.width, lengths.max() ?? 1)
        let size = width / settings.heads
        let relative = (0..<2 * longest - 1).map { row in
            let waves = (0..<width).map { c in
                let place = c % (width / 2)
                let angle =
                    Double(longest - 1 - row) / pow(10_000, Double(2 * place) / Double(width))
                return (c < width / 2 ? sin(angle) : cos(angle)) * open(positions, row, c, width)
            }
            return product(waves[...], weights[2], columns: width)
        }
        var y: [Double] = []
        for (query, row) in rows.enumerated() {
            var (first, sequence) = (0, 0)
            while first + lengths[sequence] <= row {
                first += lengths[sequence]
                sequence += 1
            }
            let own = { (row: Int) in x[row * width..<(row + 1) * width] }
            let q = product(own(row), weights[0], columns: width)
            let seen = first...(settings.isCausal ? row : first + lengths[sequence] - 1)
            let keys = seen.map { product(own($0), weights[1], columns: 2 * width) }
            let values = seen.map { product(own($0), weights[1], columns: 2 * width, from: width) }
            var heads = [Double](repeating: 0, count: width)
            for head in 0..<settings.heads {
                let columns = head * size..<(head + 1) * size
                let scores = seen.map { key in
                    let r = relative[longest - 1 - (row - key)]
                    return columns.reduce(0.0) { sum, c in
                        sum + (q[c] + weights[4][c]) * keys[key - first][c]
                            + (q[c] + weights[5][c]) * r[c]
                    } / Double(size).squareRoot()
                }
                let exponentials = scores.map { exp($0) }
                let total = exponentials.reduce(0, +)
                for (key, exponential) in exponentials.enumerated() {
                    let share =
                        exponential / total
                        * isOpen(query, head, key)
                    for c in columns { heads[c] += share * values[key][c] }
                }
            }
            y += product(heads[...], weights[3], columns: width)
        }
        return y
    }
}
