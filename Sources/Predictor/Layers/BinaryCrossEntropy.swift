// SPDX-License-Identifier: Apache-2.0
private import CKernels

/// Binary cross entropy of logits: loss = log(1 + eˣ) − label · x, in a form that cannot overflow.
enum BinaryCrossEntropy {
    /// The mean over the examples, and its gradient; logits and gradient: examples × 1.
    static func run(_ logits: RowBuffer, labels: [Float], gradient: RowBuffer) -> Double {
        precondition(labels.count == logits.rows, "a label an example")
        gradient.resize(rows: logits.rows)
        let sum = unsafe larder_binary_cross_entropy(
            logits.start,
            labels,
            labels.count,
            1 / Float(max(1, labels.count)),
            gradient.start
        )
        return sum / Double(max(1, labels.count))
    }
}
