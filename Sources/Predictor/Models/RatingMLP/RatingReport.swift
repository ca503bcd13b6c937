// SPDX-License-Identifier: Apache-2.0
private import Glibc

/// How well probabilities agree with what was liked, beside the best that is the same for all.
package struct RatingReport: Sendable, Codable, Equatable {
    package var examples = 0
    /// The share that was liked.
    package var liked = 0.0
    /// How often something liked has a higher score than something not liked; ties count half.
    package var auc = 0.5
    /// In nats an example.
    package var logLoss = 0.0
    /// Of a model that always says the share that was liked in these examples.
    package var meanLogLoss = 0.0
    /// The mean probability over the share that was liked: above one says too much.
    package var calibration = 0.0
    /// The mean distance of probability and share, over ten bins with as many examples each.
    package var calibrationError = 0.0

    package init(_ logits: [Float], labels: [Float]) {
        examples = labels.count
        guard examples > 0 else { return }
        let order = logits.indices.sorted { logits[$0] < logits[$1] }
        let positives = labels.reduce(0) { $0 + Double($1) }
        let negatives = Double(examples) - positives
        liked = positives / Double(examples)
        // Mann and Whitney: the sum of the ranks of what was liked, equal ones sharing theirs.
        var rankSum = 0.0
        var first = 0
        while first < order.count {
            var end = first
            var own = 0.0
            // Ends with numbers that are none, too.
            while end < order.count, !(logits[order[end]] > logits[order[first]]) {
                own += Double(labels[order[end]])
                end += 1
            }
            rankSum += own * Double(first + end + 1) / 2
            first = end
        }
        if positives > 0, negatives > 0 {
            auc = (rankSum - positives * (positives + 1) / 2) / (positives * negatives)
        }
        var sum = 0.0
        for (logit, label) in zip(logits, labels) {
            let x = Double(logit)
            logLoss += max(x, 0) - x * Double(label) + log1p(exp(-abs(x)))
            sum += 1 / (1 + exp(-x))
        }
        logLoss /= Double(examples)
        calibration = positives > 0 ? sum / positives : 0
        for share in [liked, 1 - liked] where share > 0 { meanLogLoss -= share * log(share) }
        for bin in 0..<10 {
            let own = order[order.count * bin / 10..<order.count * (bin + 1) / 10]
            let (said, was) = own.reduce((0.0, 0.0)) { sums, place in
                (
                    sums.0 + 1 / (1 + exp(-Double(logits[place]))),
                    sums.1 + Double(labels[place])
                )
            }
            calibrationError += abs(said - was) / Double(examples)
        }
    }
}
