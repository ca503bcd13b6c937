// SPDX-License-Identifier: Apache-2.0
import CKernels
import Foundation
import Testing

@testable import Predictor

/// Layers beside plain Swift in double precision, and their gradients beside finite differences.
struct LayerKernelTests {
    /// rows × columns doubles, row-major.
    private struct Plain {
        var rows: Int
        var columns: Int
        var values: [Double]

        init(_ rows: Int, _ columns: Int, _ generator: inout SeededGenerator) {
            self.rows = rows
            self.columns = columns
            // Rounded to float, so that both start from the same numbers.
            values = (0..<rows * columns).map { _ in Double(generator.unitFloat() * 2 - 1) }
        }

        init(_ rows: Int, _ columns: Int) {
            self.rows = rows
            self.columns = columns
            values = [Double](repeating: 0, count: rows * columns)
        }

        subscript(row: Int, column: Int) -> Double {
            get { values[row * columns + column] }
            set { values[row * columns + column] = newValue }
        }

        var buffer: RowBuffer {
            let buffer = RowBuffer(rows: rows, columns: columns)
            buffer.fill(values.map { Float($0) })
            return buffer
        }
    }

    /// How a number changes with each of some others.
    private func slopes(_ values: [Double], _ number: ([Double]) -> Double) -> [Double] {
        let step = 1e-5
        return values.indices.map { place in
            var (more, less) = (values, values)
            more[place] += step
            less[place] -= step
            return (number(more) - number(less)) / (2 * step)
        }
    }

    private func expectEqual(
        _ found: [Float],
        _ wanted: [Double],
        within tolerance: Double = 2e-4,
        _ location: SourceLocation = #_sourceLocation
    ) {
        #expect(found.count == wanted.count, sourceLocation: location)
        for (a, b) in zip(found, wanted) where !(abs(Double(a) - b) <= tolerance * (1 + abs(b))) {
            Issue.record("\(a) is not \(b)", sourceLocation: location)
            return
        }
    }

    /// SGD with a rate of one: what a weight loses is its gradient.
    private var plainSteps: Optimiser {
        var settings = OptimiserSettings()
        settings.kind = .sgd
        settings.learningRate = 1
        return Optimiser(settings, step: 0, of: 1)
    }

    private func lost(_ before: [Float], _ after: RowBuffer) -> [Float] {
        zip(before, after.values).map { $0 - $1 }
    }

    private func inner(_ a: [Double], _ b: [Double]) -> Double {
        zip(a, b).reduce(0) { $0 + $1.0 * $1.1 }
    }

    // MARK: linear

    private func linear(_ x: Plain, _ w: Plain, _ b: Plain, _ rectifies: Bool) -> [Double] {
        var y = Plain(x.rows, w.columns)
        for r in 0..<x.rows {
            for o in 0..<w.columns {
                var sum = b[0, o]
                for i in 0..<w.rows { sum += x[r, i] * w[i, o] }
                y[r, o] = rectifies ? max(0, sum) : sum
            }
        }
        return y.values
    }

    @Test(
        arguments: [(5, 7, 3, 1), (70, 17, 40, 2), (33, 130, 1, 3), (1, 1, 1, 2)],
        [false, true]
    )
    func `a dense layer and its gradients`(
        _ shape: (rows: Int, inputs: Int, outputs: Int, threads: Int),
        _ rectifies: Bool
    ) {
        var generator = SeededGenerator(seed: shape.rows)
        let layer = Linear(
            inputs: shape.inputs,
            outputs: shape.outputs,
            rectifies: rectifies,
            for: .sgd,
            &generator
        )
        let x = Plain(shape.rows, shape.inputs, &generator)
        let b = Plain(1, shape.outputs, &generator)
        layer.bias?.values.fill(b.values.map { Float($0) })
        let before = layer.weight.values.values
        let limit = (6 / Float(shape.inputs + shape.outputs)).squareRoot()
        #expect(before.allSatisfy { abs($0) <= limit })
        var w = Plain(shape.inputs, shape.outputs)
        w.values = before.map { Double($0) }
        let y = RowBuffer(columns: shape.outputs)
        layer.forward(x.buffer, into: y, threads: shape.threads)
        expectEqual(y.values, linear(x, w, b, rectifies))

        let aim = Plain(shape.rows, shape.outputs, &generator)
        let (gradient, dx) = (aim.buffer, RowBuffer(columns: shape.inputs))
        layer.backward(gradient, x: x.buffer, y: y, into: dx, threads: shape.threads)
        func value(_ x: Plain, _ w: Plain, _ b: Plain) -> Double {
            inner(linear(x, w, b, rectifies), aim.values)
        }
        func with(_ plain: Plain, _ values: [Double]) -> Plain {
            var plain = plain
            plain.values = values
            return plain
        }
        let dw = slopes(w.values) { value(x, with(w, $0), b) }
        let db = slopes(b.values) { value(x, w, with(b, $0)) }
        expectEqual(dx.values, slopes(x.values) { value(with(x, $0), w, b) })
        let squares = layer.gradients.squares
        #expect(abs(squares - inner(dw, dw) - inner(db, db)) < 1e-3 * (1 + squares))
        layer.gradients.update(plainSteps, threads: shape.threads)
        expectEqual(lost(before, layer.weight.values), dw)
        expectEqual(
            lost(b.values.map { Float($0) }, layer.bias?.values ?? RowBuffer(columns: 1)),
            db
        )
    }

    // MARK: embeddings

    @Test(arguments: [1, 3], [1, 5, 64])
    func `an embedding of codes, and of lists, and their sparse gradients`(
        _ threads: Int,
        _ width: Int
    ) {
        var generator = SeededGenerator(seed: width)
        let codes: [Int32] = [4, 0, 4, 2, 4, 2]
        // The second list is empty, the third names a code twice.
        for offsets in [nil, [Int32](arrayLiteral: 0, 2, 2, 5, 6)] {
            let rows = offsets.map { $0.count - 1 } ?? codes.count
            let layer = Embedding(codes: 6, width: width, for: .sgd) { generator.unitFloat() }
            let before = layer.table.values.values
            let aim = Plain(rows, width + 2, &generator)
            func forward(_ table: [Double]) -> [Double] {
                var y = Plain(rows, width + 2)
                for row in 0..<rows {
                    let own = offsets.map { Int($0[row])..<Int($0[row + 1]) } ?? row..<row + 1
                    for entry in own {
                        for c in 0..<width {
                            y[row, c + 1] +=
                                table[Int(codes[entry]) * width + c]
                                / Double(own.count)
                        }
                    }
                }
                return y.values
            }
            let y = RowBuffer(rows: rows, columns: width + 2)
            // What an earlier batch used is forgotten.
            layer.use([5, 5, 1])
            layer.use(codes, offsets: offsets)
            layer.forward(into: y, column: 1, threads: threads)
            let table = before.map { Double($0) }
            expectEqual(y.values, forward(table))
            let slopes = slopes(table) { inner(forward($0), aim.values) }
            let squares = layer.squares(aim.buffer, column: 1)
            #expect(abs(squares - inner(slopes, slopes)) < 1e-3 * (1 + squares))
            layer.update(aim.buffer, column: 1, plainSteps, threads: threads)
            expectEqual(lost(before, layer.table.values), slopes)
            for code in [1, 3, 5] {
                let range = code * width..<(code + 1) * width
                #expect(Array(layer.table.values.values[range]) == Array(before[range]))
            }
        }
    }

    @Test(arguments: OptimiserKind.allCases)
    func `a row that is met often moves as one that got the sum`(_ kind: OptimiserKind) {
        var settings = OptimiserSettings()
        settings.kind = kind
        settings.learningRate = 0.1
        let often = Embedding(codes: 2, width: 3, for: kind) { 0.5 }
        let once = Embedding(codes: 2, width: 3, for: kind) { 0.5 }
        for step in 0..<3 {
            let optimiser = Optimiser(settings, step: step, of: 3)
            let several = RowBuffer(rows: 4, columns: 3)
            several.fill([1, 2, 3, -4, 0, 1, 9, 9, 9, 1, 1, 1])
            often.use([1, 1, 0, 1])
            often.update(several, column: 0, optimiser, threads: 1)
            let sum = RowBuffer(rows: 2, columns: 3)
            sum.fill([9, 9, 9, -2, 3, 5])
            once.use([0, 1])
            once.update(sum, column: 0, optimiser, threads: 1)
        }
        #expect(often.table.values.values == once.table.values.values)
        #expect(often.table.state.values == once.table.state.values)
        #expect(often.table.values.values.allSatisfy { $0 != 0.5 })
    }

    // MARK: optimisers

    @Test(arguments: OptimiserKind.allCases, [1, 37])
    func `optimisers are those of the books`(_ kind: OptimiserKind, _ count: Int) {
        var settings = OptimiserSettings()
        settings.kind = kind
        settings.learningRate = 0.3
        settings.weightDecay = kind == .adamw ? 0.2 : 0
        // Gradients two long together: half of each.
        settings.clip = 1
        var generator = SeededGenerator(seed: 1)
        let weights = Parameter(rows: 1, columns: count, for: kind) { generator.unitFloat() }
        var plain = weights.values.values.map { Double($0) }
        var sums = [Double](repeating: 0.1, count: count)
        var (first, second) = ([Double](repeating: 0, count: count), sums.map { _ in 0.0 })
        for step in 0..<4 {
            let gradient = Plain(1, count, &generator)
            weights.move(
                0..<1,
                by: gradient.buffer,
                Optimiser(settings, step: step, of: 4, squares: 4)
            )
            for i in 0..<count {
                let g = gradient.values[i] * 0.5
                switch kind {
                case .sgd: plain[i] -= 0.3 * g
                case .adagrad:
                    sums[i] += g * g
                    plain[i] -= 0.3 * g / (sums[i] + 1e-7).squareRoot()
                case .adamw:
                    first[i] = 0.9 * first[i] + 0.1 * g
                    second[i] = 0.999 * second[i] + 0.001 * g * g
                    let m = first[i] / (1 - pow(0.9, Double(step + 1)))
                    let v = second[i] / (1 - pow(0.999, Double(step + 1)))
                    plain[i] -= 0.3 * (m / (v.squareRoot() + 1e-8) + 0.2 * plain[i])
                }
            }
        }
        expectEqual(weights.values.values, plain)
    }

    @Test func `learning rates rise, stay, and fall`() {
        var settings = OptimiserSettings()
        settings.learningRate = 2
        settings.warmUp = 3
        #expect([0, 1, 2, 3, 50].map { settings.rate(at: $0, of: 100) } == [0.5, 1, 1.5, 2, 2])
        settings.warmUp = 0
        settings.schedule = .linear
        #expect([0, 50, 75].map { settings.rate(at: $0, of: 100) } == [2, 1, 0.5])
        settings.schedule = .cosine
        let rates = [0, 25, 50, 100].map { settings.rate(at: $0, of: 100) }
        for (rate, wanted) in zip(rates, [2, 1 + 0.5.squareRoot(), 1, 0]) {
            #expect(abs(rate - wanted) < 1e-9)
        }
    }

    // MARK: lengths of one, and places closed

    @Test func `rows get a length of one, and gradients go through`() {
        var generator = SeededGenerator(seed: 4)
        var x = Plain(5, 6, &generator)
        for c in 0..<6 { x[2, c] = 0 }
        func forward(_ values: [Double]) -> [Double] {
            var y = values
            for row in 0..<5 {
                let own = row * 6..<row * 6 + 6
                let length = values[own].reduce(0) { $0 + $1 * $1 }.squareRoot()
                for place in own { y[place] = length == 0 ? 0 : values[place] / length }
            }
            return y
        }
        let (layer, y) = (Normalise(), RowBuffer(columns: 6))
        layer.forward(x.buffer, into: y, threads: 2)
        expectEqual(y.values, forward(x.values))
        let aim = Plain(5, 6, &generator)
        let gradient = aim.buffer
        layer.backward(gradient, y: y, threads: 2)
        var slopes = slopes(x.values) { inner(forward($0), aim.values) }
        // Where nothing has a direction, there is no slope either.
        for place in 12..<18 { slopes[place] = 0 }
        expectEqual(gradient.values, slopes)
    }

    @Test func `dropout closes its share, the same places both ways and other ones each step`() {
        let dropout = Dropout(rate: 0.3, seed: 5)
        func applied(_ step: Int, threads: Int) -> [Float] {
            let x = RowBuffer(rows: 300, columns: 50)
            x.fill { 1 }
            dropout.apply(to: x, step: step, threads: threads)
            return x.values
        }
        let first = applied(7, threads: 1)
        #expect(Set(first) == [0, Float(1 / 0.7)])
        let share = Double(first.count { $0 == 0 }) / Double(first.count)
        #expect(abs(share - 0.3) < 0.015)
        #expect(applied(7, threads: 3) == first)
        #expect(applied(8, threads: 1) != first)
    }

    // MARK: losses

    /// Of 1,100 queries, so that they are more than one block.
    @Test(arguments: [(11, 9, 4, 1), (1100, 9, 4, 2), (40, 300, 7, 3)])
    func `the softmax over candidates and its gradients`(
        _ shape: (queries: Int, candidates: Int, columns: Int, threads: Int)
    ) {
        var generator = SeededGenerator(seed: shape.queries)
        let q = Plain(shape.queries, shape.columns, &generator)
        let c = Plain(shape.candidates, shape.columns, &generator)
        // The last two candidates move nothing, and one of them is a copy of what some ask for.
        let moved = shape.candidates - 2
        let last = Int32(shape.candidates - 1)
        var targets = ContrastiveLoss.Targets()
        targets.bias = (0..<shape.candidates).map { _ in generator.unitFloat() }
        targets.target = (0..<shape.queries).map { Int32($0 * 5 % moved) }
        targets.targetBias = (0..<shape.queries).map { _ in generator.unitFloat() }
        for query in 0..<shape.queries where targets.target[query] == 0 {
            targets.copies.append(.init(query: Int32(query), candidate: last))
        }
        #expect(!targets.copies.isEmpty)
        func loss(_ q: [Double], _ c: [Double]) -> Double {
            var total = 0.0
            for query in 0..<shape.queries {
                let target = Int(targets.target[query])
                var logits = (0..<shape.candidates).map { candidate in
                    var sum = 0.0
                    for d in 0..<shape.columns {
                        sum += q[query * shape.columns + d] * c[candidate * shape.columns + d]
                    }
                    return sum / 0.5
                        + Double(
                            candidate == target
                                ? targets.targetBias[query] : targets.bias[candidate]
                        )
                }
                if target == 0 { logits[Int(last)] = -.infinity }
                total += log(logits.reduce(0) { $0 + exp($1) }) - logits[target]
            }
            return total / Double(shape.queries)
        }
        let layer = ContrastiveLoss(
            columns: shape.columns,
            temperature: 0.5,
            threads: shape.threads
        )
        let (dq, dc) = (RowBuffer(columns: shape.columns), RowBuffer(columns: shape.columns))
        // Twice: what a first call left is no part of the second.
        for _ in 0..<2 {
            let found = layer.run(q.buffer, c.buffer, targets, dq: dq, dc: dc, rowsOfC: moved)
            #expect(abs(found - loss(q.values, c.values)) < 1e-5)
        }
        let slopesOfC = slopes(c.values) { loss(q.values, $0) }
        expectEqual(dc.values, Array(slopesOfC.prefix(moved * shape.columns)), within: 2e-6)
        if shape.queries < 100 {
            expectEqual(dq.values, slopes(q.values) { loss($0, c.values) }, within: 2e-6)
        } else {
            // Some rows stand for all: each is a loss of its own.
            for query in [0, 511, 512, shape.queries - 1] {
                let own = query * shape.columns..<(query + 1) * shape.columns
                let slopes = slopes(Array(q.values[own])) { values in
                    var all = q.values
                    all.replaceSubrange(own, with: values)
                    return loss(all, c.values)
                }
                expectEqual(Array(dq.values[own]), slopes, within: 2e-6)
            }
        }
    }

    @Test func `a NaN in a vector is seen in the loss`() {
        let q = RowBuffer(rows: 20, columns: 2)
        q.fill { 1 }
        let c = RowBuffer(rows: 20, columns: 2)
        c.fill { 1 }
        unsafe c.row(3)[1] = .nan
        var targets = ContrastiveLoss.Targets()
        targets.bias = [Float](repeating: 0, count: 20)
        targets.targetBias = targets.bias
        targets.target = (0..<20).map { Int32($0) }
        let layer = ContrastiveLoss(columns: 2, temperature: 1, threads: 1)
        let (dq, dc) = (RowBuffer(columns: 2), RowBuffer(columns: 2))
        #expect(layer.run(q, c, targets, dq: dq, dc: dc, rowsOfC: 20).isNaN)
    }

    @Test func `logits far apart neither overflow nor vanish`() {
        let values: [Float] = [-300, 0, 87, 300, 299]
        let q = RowBuffer(rows: 1, columns: 1)
        q.fill { 1 }
        let c = RowBuffer(rows: 5, columns: 1)
        c.fill(values)
        var targets = ContrastiveLoss.Targets()
        targets.bias = [Float](repeating: 0, count: 5)
        targets.targetBias = [0]
        targets.target = [4]
        let layer = ContrastiveLoss(columns: 1, temperature: 1, threads: 1)
        let (dq, dc) = (RowBuffer(columns: 1), RowBuffer(columns: 1))
        let loss = layer.run(q, c, targets, dq: dq, dc: dc, rowsOfC: 5)
        #expect(abs(loss - (1 + log(1 + exp(-1.0)))) < 1e-5)
        expectEqual(dc.values, [0, 0, 0, 1 / (1 + exp(-1.0)), 1 / (1 + exp(1.0)) - 1])
    }
}
