// SPDX-License-Identifier: Apache-2.0

/// Sequences as rows of the network: items below min-count are left out, as in gensim.
struct Corpus: Sendable {
    /// The dataset's item of each row, most frequent first.
    let items: [Int32]
    /// How often each row's item occurs.
    let counts: [Int]
    let tokens: [UInt32]
    let offsets: [Int]

    init(_ dataset: Dataset, parts: Set<Part>, _ settings: Prod2VecSettings) throws(PredictorError)
    {
        let itemCounts = dataset.itemCounts(in: parts)
        let kept = itemCounts.indices.filter {
            itemCounts[$0] > 0 && itemCounts[$0] >= settings.minCount
        }.sorted {
            itemCounts[$0] != itemCounts[$1] ? itemCounts[$0] > itemCounts[$1] : $0 < $1
        }
        guard !kept.isEmpty else {
            throw .input(
                """
                none of the \(itemCounts.count) items occurs at least \(settings.minCount) times \
                (the most frequent: \(itemCounts.max() ?? 0))
                """,
                hint: "lower `model: min-count:`, or bring more events"
            )
        }
        var rowOf = [Int32](repeating: -1, count: itemCounts.count)
        for (row, item) in kept.enumerated() { rowOf[item] = Int32(row) }
        let wanted = parts.map(\.rawValue)
        var tokens: [UInt32] = []
        var offsets = [0]
        for sequence in 0..<dataset.sequenceCount {
            for event in dataset.events(ofSequence: sequence)
            where wanted.contains(dataset.eventParts[event]) {
                let row = rowOf[Int(dataset.eventItems[event])]
                if row >= 0 { tokens.append(UInt32(row)) }
            }
            if tokens.count > offsets[offsets.count - 1] { offsets.append(tokens.count) }
        }
        items = kept.map { Int32($0) }
        counts = kept.map { itemCounts[$0] }
        self.tokens = tokens
        self.offsets = offsets
    }

    /// Ranges of sequences with about `size` tokens each: gensim's batches, after each of which
    /// the learning rate is set anew.
    func chunks(of size: Int) -> [Range<Int>] {
        var chunks: [Range<Int>] = []
        var start = 0
        for sequence in 1..<offsets.count where offsets[sequence] - offsets[start] >= size {
            chunks.append(start..<sequence)
            start = sequence
        }
        if start < offsets.count - 1 { chunks.append(start..<offsets.count - 1) }
        return chunks
    }
}
