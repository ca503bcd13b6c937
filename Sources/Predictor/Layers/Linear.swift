// SPDX-License-Identifier: Apache-2.0
private import CKernels
private import Executors
private import Glibc

/// y = f(x · W + b), where f is the rectifier max(0, ·) or nothing.
///
/// x: rows × inputs, W: inputs × outputs, b: outputs, y: rows × outputs; b can be left out.
@safe final class Linear: Sendable {
    /// What weights begin with.
    enum Start {
        /// Uniform within ±√(6 / (inputs + outputs)) (Glorot and Bengio 2010), and b with zeros.
        case glorot
        /// Uniform within ±√(1 / inputs), W and b: PyTorch's.
        case uniform
        /// Normal, with this deviation, and b with zeros.
        case normal(Float)
    }

    let weight: Parameter
    let bias: Parameter?
    let rectifies: Bool
    private let weightGradient: RowBuffer
    private let biasGradient: RowBuffer

    var inputs: Int { weight.rows }
    var outputs: Int { weight.columns }

    init(
        inputs: Int,
        outputs: Int,
        rectifies: Bool,
        hasBias: Bool = true,
        start: Start = .glorot,
        for kind: OptimiserKind,
        _ generator: inout SeededGenerator
    ) {
        precondition(hasBias || !rectifies, "the rectifier comes with the bias")
        self.rectifies = rectifies
        func parameter(rows: Int, _ next: (inout SeededGenerator) -> Float) -> Parameter {
            Parameter(rows: rows, columns: outputs, for: kind) { next(&generator) }
        }
        func within(_ limit: Float) -> (inout SeededGenerator) -> Float {
            { ($0.unitFloat() * 2 - 1) * limit }
        }
        let first: (inout SeededGenerator) -> Float
        var firstOfBias: (inout SeededGenerator) -> Float = { _ in 0 }
        switch start {
        case .glorot: first = within((6 / Float(inputs + outputs)).squareRoot())
        case .uniform:
            first = within((1 / Float(inputs)).squareRoot())
            firstOfBias = first
        case .normal(let deviation): first = { deviation * $0.normalFloat() }
        }
        weight = parameter(rows: inputs, first)
        bias = hasBias ? parameter(rows: 1, firstOfBias) : nil
        weightGradient = RowBuffer(rows: inputs, columns: outputs)
        biasGradient = RowBuffer(rows: 1, columns: outputs)
    }

    /// The same weights, with gradients of its own: for another part of a batch.
    init(sharing other: Linear) {
        rectifies = other.rectifies
        weight = other.weight
        bias = other.bias
        weightGradient = RowBuffer(rows: other.inputs, columns: other.outputs)
        biasGradient = RowBuffer(rows: 1, columns: other.outputs)
    }

    /// `addsBias`: otherwise whoever comes next does.
    func forward(_ x: RowBuffer, into y: RowBuffer, addsBias: Bool = true, threads: Int) {
        y.resize(rows: x.rows)
        parallelFor(x.rows, threads: threads, grain: 16) { rows, _ in
            BLAS.multiply(
                MatrixView(x, rows: rows),
                MatrixView(weight.values, rows: 0..<inputs),
                into: MatrixView(y, rows: rows)
            )
            guard let bias, addsBias else { return }
            unsafe larder_add_bias(
                y.row(rows.lowerBound),
                bias.values.start,
                rows.count,
                outputs,
                rectifies ? 1 : 0
            )
        }
    }

    /// Makes the gradients of W and b, and of x where it is wanted; with `adds` it is added to dx.
    ///
    /// dW = xᵀ · g, db = Σ g, dx = g · Wᵀ, where g is `gradient`, that of y, without the places
    /// that the rectifier closed; it is cleared there.
    func backward(
        _ gradient: RowBuffer,
        x: RowBuffer,
        y: RowBuffer,
        into dx: RowBuffer?,
        adds: Bool = false,
        threads: Int
    ) {
        if rectifies {
            parallelFor(y.rows, threads: threads, grain: 16) { rows, _ in
                unsafe larder_rectify_back(
                    gradient.row(rows.lowerBound),
                    y.row(rows.lowerBound),
                    rows.count * outputs
                )
            }
        }
        if !adds { dx?.resize(rows: x.rows) }
        // Each thread makes some rows of dW and some of dx: nothing has to be added up after.
        parallelFor(threads, threads: threads) { part, _ in
            let inputs =
                self.inputs * part.lowerBound / threads..<self.inputs * part.upperBound / threads
            if !inputs.isEmpty {
                BLAS.multiply(
                    MatrixView(x, rows: 0..<x.rows, columns: inputs).transposed,
                    MatrixView(gradient, rows: 0..<x.rows),
                    into: MatrixView(weightGradient, rows: inputs)
                )
            }
            if bias != nil {
                unsafe larder_column_sums(
                    gradient.start,
                    gradient.rows,
                    outputs,
                    outputs * part.lowerBound / threads,
                    outputs * part.upperBound / threads,
                    biasGradient.start
                )
            }
            let rows = x.rows * part.lowerBound / threads..<x.rows * part.upperBound / threads
            if let dx, !rows.isEmpty {
                BLAS.multiply(
                    MatrixView(gradient, rows: rows),
                    MatrixView(weight.values, rows: 0..<self.inputs).transposed,
                    adds: adds,
                    into: MatrixView(dx, rows: rows)
                )
            }
        }
    }

    var gradients: [Gradient] {
        [Gradient(weight, weightGradient)] + (bias.map { [Gradient($0, biasGradient)] } ?? [])
    }

    func parameters(_ name: String) -> [(name: String, parameter: Parameter)] {
        [(name + ".weight", weight)] + (bias.map { [(name + ".bias", $0)] } ?? [])
    }
}
