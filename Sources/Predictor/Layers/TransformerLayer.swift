// SPDX-License-Identifier: Apache-2.0
import CKernels

/// Where a part of a batch stands in it, so that dropout does not depend on the parts.
struct TransformerPass: Sendable {
    /// In training; nil: nothing is dropped.
    var step: Int?
    var isForBackward: Bool { step != nil }
    var firstRow = 0
    var firstSelected = 0
}

/// Attention, then two dense layers with GELU between them, each with a layer norm behind the sum
/// with what went in.
///
/// Post-norm, as in XLNet. x: rows × width; y: a row for each that asks.
@safe final class TransformerLayer: @unchecked Sendable {
    /// What a pass leaves for the one back, and needs meanwhile; `d`: gradients.
    private final class Work {
        let asking, attended, middle, outer: RowBuffer
        let inner, activated: RowBuffer
        let dAsking, dAttended, dMiddle, dOuter: RowBuffer
        let dInner: RowBuffer

        init(width: Int, inner: Int) {
            asking = RowBuffer(columns: width)
            attended = RowBuffer(columns: width)
            middle = RowBuffer(columns: width)
            outer = RowBuffer(columns: width)
            self.inner = RowBuffer(columns: inner)
            activated = RowBuffer(columns: inner)
            dAsking = RowBuffer(columns: width)
            dAttended = RowBuffer(columns: width)
            dMiddle = RowBuffer(columns: width)
            dOuter = RowBuffer(columns: width)
            dInner = RowBuffer(columns: inner)
        }
    }

    let attention: RelativeAttention
    let attentionNorm: LayerNorm
    let first: Linear
    let second: Linear
    let norm: LayerNorm
    let attentionDropout: Dropout
    let innerDropout: Dropout
    let outerDropout: Dropout

    private let work: Work

    init(
        _ settings: TransformerSettings,
        for kind: OptimiserKind,
        _ generator: inout SeededGenerator
    ) {
        attention = RelativeAttention(settings, for: kind, &generator)
        attentionNorm = LayerNorm(columns: settings.width, epsilon: settings.epsilon, for: kind)
        first = Linear(
            inputs: settings.width,
            outputs: settings.inner,
            rectifies: false,
            start: .normal(settings.deviation),
            for: kind,
            &generator
        )
        second = Linear(
            inputs: settings.inner,
            outputs: settings.width,
            rectifies: false,
            start: .normal(settings.deviation),
            for: kind,
            &generator
        )
        norm = LayerNorm(columns: settings.width, epsilon: settings.epsilon, for: kind)
        func dropout(_ generator: inout SeededGenerator) -> Dropout {
            Dropout(rate: settings.dropout, seed: generator.index(below: 1 << 30))
        }
        attentionDropout = dropout(&generator)
        innerDropout = dropout(&generator)
        outerDropout = dropout(&generator)
        work = Work(width: settings.width, inner: settings.inner)
    }

    /// The same weights, for another part of a batch.
    init(sharing other: TransformerLayer) {
        attention = RelativeAttention(sharing: other.attention)
        attentionNorm = LayerNorm(sharing: other.attentionNorm)
        first = Linear(sharing: other.first)
        second = Linear(sharing: other.second)
        norm = LayerNorm(sharing: other.norm)
        attentionDropout = other.attentionDropout
        innerDropout = other.innerDropout
        outerDropout = other.outerDropout
        work = Work(width: first.inputs, inner: first.outputs)
    }

    func forward(
        _ x: RowBuffer,
        _ sequences: Sequences,
        _ selected: SelectedRows?,
        into y: RowBuffer,
        _ pass: TransformerPass
    ) {
        if let selected { work.asking.gather(selected.rows, of: x) }
        let asking = selected == nil ? x : work.asking
        let row = selected == nil ? pass.firstRow : pass.firstSelected
        attention.forward(x, sequences, queries: asking, selected, into: work.attended, pass)
        attentionNorm.forward(
            work.attended,
            bias: nil,
            plus: asking,
            into: work.middle,
            attentionDropout.kernel(step: pass.step, first: row)
        )
        first.forward(work.middle, into: work.inner, addsBias: false, threads: 1)
        work.activated.resize(rows: work.inner.rows)
        var dropout = innerDropout.kernel(step: pass.step, first: row)
        guard let innerBias = first.bias else { preconditionFailure("made with one") }
        unsafe larder_gelu(
            work.inner.start,
            innerBias.values.start,
            work.activated.start,
            work.inner.rows,
            work.inner.columns,
            &dropout
        )
        second.forward(work.activated, into: work.outer, addsBias: false, threads: 1)
        norm.forward(
            work.outer,
            bias: second.bias,
            plus: work.middle,
            into: y,
            outerDropout.kernel(step: pass.step, first: row)
        )
    }

    /// The gradient of x from that of y, after a forward pass with the same.
    func backward(
        _ gradient: RowBuffer,
        x: RowBuffer,
        _ sequences: Sequences,
        _ selected: SelectedRows?,
        into dx: RowBuffer,
        _ pass: TransformerPass
    ) {
        let row = selected == nil ? pass.firstRow : pass.firstSelected
        norm.backward(gradient, into: work.dMiddle)
        copy(work.dMiddle, into: work.dOuter, outerDropout.kernel(step: pass.step, first: row))
        second.backward(
            work.dOuter,
            x: work.activated,
            y: work.outer,
            into: work.dInner,
            threads: 1
        )
        var dropout = innerDropout.kernel(step: pass.step, first: row)
        unsafe larder_gelu_back(
            work.dInner.start,
            work.inner.start,
            work.inner.rows,
            work.inner.columns,
            &dropout
        )
        first.backward(
            work.dInner,
            x: work.middle,
            y: work.inner,
            into: work.dMiddle,
            adds: true,
            threads: 1
        )
        let dAsking = selected == nil ? dx : work.dAsking
        attentionNorm.backward(work.dMiddle, into: dAsking)
        copy(dAsking, into: work.dAttended, attentionDropout.kernel(step: pass.step, first: row))
        if selected != nil {
            dx.resize(rows: x.rows)
            dx.clear()
        }
        attention.backward(
            work.dAttended,
            x: x,
            sequences,
            queries: selected == nil ? x : work.asking,
            selected,
            dQueries: dAsking,
            dx: dx,
            pass
        )
        if let selected { dx.scatter(dAsking, to: selected.rows) }
    }

    private func copy(_ from: RowBuffer, into to: RowBuffer, _ dropout: larder_dropout) {
        to.resize(rows: from.rows)
        unsafe to.start.update(from: from.start, count: from.count)
        var dropout = dropout
        unsafe larder_dropout(&dropout, to.start, to.rows, to.columns)
    }

    var gradients: [Gradient] {
        attention.gradients + attentionNorm.gradients + first.gradients + second.gradients
            + norm.gradients
    }

    func parameters(_ name: String) -> [(name: String, parameter: Parameter)] {
        attention.parameters(name + ".attention")
            + attentionNorm.parameters(name + ".attention-norm")
            + first.parameters(name + ".first") + second.parameters(name + ".second")
            + norm.parameters(name + ".norm")
    }
}
