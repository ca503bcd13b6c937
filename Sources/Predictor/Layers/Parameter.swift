// SPDX-License-Identifier: Apache-2.0
private import CKernels
private import Executors

/// A matrix that is learned, and what the optimiser keeps beside each row of it.
@safe final class Parameter: Sendable {
    let values: RowBuffer
    /// A row has `slots` times the columns.
    let state: RowBuffer

    var rows: Int { values.rows }
    var columns: Int { values.columns }

    init(rows: Int, columns: Int, for kind: OptimiserKind, _ next: () -> Float) {
        values = RowBuffer(rows: rows, columns: columns)
        state = RowBuffer(rows: rows, columns: columns * kind.slots)
        values.fill(next)
        let initial = kind.initial
        if initial != 0 { state.fill { initial } }
    }

    /// Gives a row the mean of some.
    func fill(row: Int, withMeanOf rows: [Int]) {
        var mean = [Float](repeating: 0, count: columns)
        for row in rows {
            let from = unsafe values.row(row)
            for c in mean.indices { unsafe mean[c] += from[c] }
        }
        let to = unsafe values.row(row)
        for c in mean.indices { unsafe to[c] = mean[c] / Float(max(1, rows.count)) }
    }

    func move(_ rows: Range<Int>, by gradient: RowBuffer, _ optimiser: Optimiser) {
        for row in rows {
            unsafe optimiser.move(
                values.row(row),
                state.row(row),
                by: gradient.row(row),
                count: columns
            )
        }
    }
}

/// A parameter and its gradient, all rows of both.
struct Gradient: Sendable {
    let parameter: Parameter
    let values: RowBuffer

    init(_ parameter: Parameter, _ values: RowBuffer) {
        self.parameter = parameter
        self.values = values
    }
}

extension [Gradient] {
    /// The sum of the squares of all.
    var squares: Double {
        reduce(0) { unsafe $0 + larder_squares($1.values.start, $1.values.count) }
    }

    func update(_ optimiser: Optimiser, threads: Int) {
        for gradient in self {
            parallelFor(gradient.parameter.rows, threads: threads, grain: 64) { rows, _ in
                gradient.parameter.move(rows, by: gradient.values, optimiser)
            }
        }
    }

    /// self += other, of the same parameters.
    func add(_ other: [Gradient]) {
        for (own, other) in zip(self, other) { own.values.add(other.values, threads: 1) }
    }
}

/// Parameters by their names: what a state on disk is made of.
protocol HasParameters {
    var parameters: [(name: String, parameter: Parameter)] { get }
}

extension HasParameters {
    /// The values, and what the optimiser keeps beside them.
    var tensors: [String: Tensor] {
        var tensors: [String: Tensor] = [:]
        for (name, parameter) in parameters {
            tensors[name] = .float32(
                parameter.values.values,
                shape: [parameter.rows, parameter.columns]
            )
            if parameter.state.columns > 0 {
                tensors["state." + name] = .float32(
                    parameter.state.values,
                    shape: [parameter.rows, parameter.state.columns]
                )
            }
        }
        return tensors
    }

    /// Refuses tensors of another shape.
    func restore(from file: TensorFile) throws(PredictorError) {
        for (name, parameter) in parameters {
            try restore(parameter.values, name, from: file)
            if parameter.state.columns > 0 {
                try restore(parameter.state, "state." + name, from: file)
            }
        }
    }

    private func restore(_ buffer: RowBuffer, _ name: String, from file: TensorFile)
        throws(PredictorError)
    {
        let shape = try file.shape(name)
        guard shape == [buffer.rows, buffer.columns] else {
            throw .input(
                "the weights \(name) are \(shape), those of this model \([buffer.rows, buffer.columns])"
            )
        }
        buffer.fill(try file.float32(name))
    }
}
