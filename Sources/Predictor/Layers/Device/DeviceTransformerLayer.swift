// SPDX-License-Identifier: Apache-2.0
import CKernels
import CUDA

/// `TransformerLayer` on a device, in training.
final class DeviceTransformerLayer {
    private let layer: TransformerLayer
    private let rows: DeviceRows
    private let attention: DeviceAttention
    private let attentionNorm: DeviceLayerNorm
    private let first: DeviceLinear
    private let gelu: DeviceGELU
    private let second: DeviceLinear
    private let norm: DeviceLayerNorm
    /// As in `TransformerLayer`; `d`: gradients.
    private let asking, attended, middle, outer: DeviceMatrix
    private let inner, activated: DeviceMatrix
    private let dAsking, dAttended, dMiddle, dOuter: DeviceMatrix
    private let dInner: DeviceMatrix

    init(
        _ layer: TransformerLayer,
        _ layers: DeviceLayers,
        _ room: DeviceAttentionRoom
    ) throws(CUDAError) {
        self.layer = layer
        rows = layers.rows
        attention = try DeviceAttention(layer.attention, layers, room)
        attentionNorm = try DeviceLayerNorm(layer.attentionNorm, layers)
        first = try DeviceLinear(layer.first, layers)
        gelu = try DeviceGELU(layers)
        second = try DeviceLinear(layer.second, layers)
        norm = try DeviceLayerNorm(layer.norm, layers)
        let (width, wide) = (layer.first.inputs, layer.first.outputs)
        asking = try layers.matrix(columns: width)
        attended = try layers.matrix(columns: width)
        middle = try layers.matrix(columns: width)
        outer = try layers.matrix(columns: width)
        inner = try layers.matrix(columns: wide)
        activated = try layers.matrix(columns: wide)
        dAsking = try layers.matrix(columns: width)
        dAttended = try layers.matrix(columns: width)
        dMiddle = try layers.matrix(columns: width)
        dOuter = try layers.matrix(columns: width)
        dInner = try layers.matrix(columns: wide)
    }

    var parameters: [DeviceParameter] {
        attention.parameters + attentionNorm.parameters + first.parameters + second.parameters
            + norm.parameters
    }

    var gradients: [DeviceParameter.Gradient] {
        attention.gradients + attentionNorm.gradients + first.gradients + second.gradients
            + norm.gradients
    }

    func forward(
        _ x: DeviceMatrix,
        _ sequences: DeviceSequences,
        isLast: Bool,
        into y: DeviceMatrix,
        step: Int
    ) throws(CUDAError) {
        if isLast { try rows.gather(sequences.selectedRows, of: x, into: asking) }
        let asking = isLast ? asking : x
        try attention.forward(x, sequences, queries: asking, isLast: isLast, into: attended, step)
        try attentionNorm.forward(
            attended,
            bias: nil,
            plus: asking,
            into: middle,
            layer.attentionDropout.kernel(step: step, first: 0)
        )
        try first.forward(middle, into: inner, addsBias: false)
        guard let innerBias = first.bias else { preconditionFailure("made with one") }
        let dropout = layer.innerDropout.kernel(step: step, first: 0)
        try gelu.forward(inner, bias: innerBias, into: activated, dropout)
        try second.forward(activated, into: outer, addsBias: false)
        try norm.forward(
            outer,
            bias: second.bias,
            plus: middle,
            into: y,
            layer.outerDropout.kernel(step: step, first: 0)
        )
    }

    /// The gradient of x from that of y, after a forward pass with the same.
    func backward(
        _ gradient: DeviceMatrix,
        x: DeviceMatrix,
        _ sequences: DeviceSequences,
        isLast: Bool,
        into dx: DeviceMatrix,
        step: Int
    ) throws(CUDAError) {
        try norm.backward(gradient, into: dMiddle)
        try copy(dMiddle, into: dOuter, layer.outerDropout, step)
        try second.backward(dOuter, x: activated, y: outer, into: dInner)
        try gelu.backward(dInner, x: inner, layer.innerDropout.kernel(step: step, first: 0))
        try first.backward(dInner, x: middle, y: inner, into: dMiddle, adds: true)
        let dAsking = isLast ? dAsking : dx
        try attentionNorm.backward(dMiddle, into: dAsking)
        try copy(dAsking, into: dAttended, layer.attentionDropout, step)
        if isLast {
            try dx.resize(rows: x.rows)
            try dx.array.clear()
        }
        try attention.backward(
            dAttended,
            x: x,
            sequences,
            queries: isLast ? asking : x,
            isLast: isLast,
            dQueries: dAsking,
            dx: dx
        )
        if isLast { try rows.scatter(dAsking, to: sequences.selectedRows, of: dx) }
    }

    private func copy(
        _ from: DeviceMatrix,
        into to: DeviceMatrix,
        _ dropout: Dropout,
        _ step: Int
    ) throws(CUDAError) {
        try to.resize(rows: from.rows)
        try rows.copy(from, into: to, dropout.kernel(step: step, first: 0))
    }
}
