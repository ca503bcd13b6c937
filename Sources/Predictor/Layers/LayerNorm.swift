// SPDX-License-Identifier: Apache-2.0
import CKernels

/// y = gain · (z − mean) / √(variance + ε) + shift, row by row, of z = x + dropout(a + bias).
///
/// Ba et al. 2016. a, x, y: rows × columns.
@safe final class LayerNorm: @unchecked Sendable {
    let gain: Parameter
    let shift: Parameter
    let epsilon: Float
    private let gainGradient: RowBuffer
    private let shiftGradient: RowBuffer
    private let direction: RowBuffer
    private let inverse = RowBuffer(columns: 1)

    init(columns: Int, epsilon: Double, for kind: OptimiserKind) {
        gain = Parameter(rows: 1, columns: columns, for: kind) { 1 }
        shift = Parameter(rows: 1, columns: columns, for: kind) { 0 }
        self.epsilon = Float(epsilon)
        (gainGradient, shiftGradient, direction) = Self.buffers(columns)
    }

    /// The same weights, for another part of a batch.
    init(sharing other: LayerNorm) {
        (gain, shift, epsilon) = (other.gain, other.shift, other.epsilon)
        (gainGradient, shiftGradient, direction) = Self.buffers(other.gain.columns)
    }

    private static func buffers(_ columns: Int) -> (RowBuffer, RowBuffer, RowBuffer) {
        (
            RowBuffer(rows: 1, columns: columns), RowBuffer(rows: 1, columns: columns),
            RowBuffer(columns: columns)
        )
    }

    func forward(
        _ a: RowBuffer,
        bias: Parameter?,
        plus x: RowBuffer,
        into y: RowBuffer,
        _ dropout: larder_dropout
    ) {
        y.resize(rows: x.rows)
        direction.resize(rows: x.rows)
        inverse.resize(rows: x.rows)
        var kernel = unsafe kernel
        var dropout = dropout
        unsafe larder_norm(
            &kernel,
            a.start,
            bias?.values.start,
            x.start,
            y.start,
            x.rows,
            &dropout
        )
    }

    /// The gradient of z from that of y.
    func backward(_ gradient: RowBuffer, into dz: RowBuffer) {
        dz.resize(rows: gradient.rows)
        gainGradient.clear()
        shiftGradient.clear()
        var kernel = unsafe kernel
        unsafe larder_norm_back(
            &kernel,
            gradient.start,
            dz.start,
            gainGradient.start,
            shiftGradient.start,
            gradient.rows
        )
    }

    private var kernel: larder_norm {
        unsafe larder_norm(
            columns: gain.columns,
            epsilon: epsilon,
            gain: gain.values.start,
            shift: shift.values.start,
            direction: direction.start,
            inverse: inverse.start
        )
    }

    var gradients: [Gradient] { [Gradient(gain, gainGradient), Gradient(shift, shiftGradient)] }

    func parameters(_ name: String) -> [(name: String, parameter: Parameter)] {
        [(name + ".gain", gain), (name + ".shift", shift)]
    }
}
