// SPDX-License-Identifier: Apache-2.0

/// Sessions of a training step, and which of their items are to be found.
struct SessionExamples {
    private(set) var tokens: SessionTokens
    /// Rows from which something is to be found.
    private(set) var selected = SelectedRows()
    /// Rows that the mask stands for.
    private(set) var hidden: [Int32] = []
    /// The item of each selected row.
    private(set) var items: [Int32] = []
    private let settings: SessionTransformerSettings

    init(_ settings: SessionTransformerSettings, _ columns: SessionColumns, isMet: [Bool]) {
        self.settings = settings
        tokens = SessionTokens(columns, isMet: isMet)
    }

    mutating func removeAll() {
        tokens.removeAll()
        selected.removeAll()
        hidden.removeAll(keepingCapacity: true)
        items.removeAll(keepingCapacity: true)
    }

    /// Adds a session by the settings' masking.
    mutating func append(
        items: ArraySlice<Int32>,
        events: ArraySlice<Int32>,
        _ generator: inout SeededGenerator
    ) {
        switch settings.masking {
        case .causal: append(items: items, events: events)
        case .mlm:
            let masked = Self.masked(items.count, settings.maskProbability, &generator)
            append(items: items, events: events, masked: masked)
        }
    }

    /// Each item is to be found from those before it.
    private mutating func append(items: ArraySlice<Int32>, events: ArraySlice<Int32>) {
        let first = tokens.rows
        tokens.append(items: items.dropLast(), events: events.dropLast(), paddedTo: 0)
        selected.append(0..<Int32(items.count - 1), first: first)
        self.items += items.dropFirst()
    }

    /// Those at the masked places are to be found from all others.
    mutating func append(items: ArraySlice<Int32>, events: ArraySlice<Int32>, masked: [Int32]) {
        let first = tokens.rows
        tokens.append(
            items: items,
            events: events,
            paddedTo: settings.isTransformers4Rec ? settings.length : 0
        )
        selected.append(masked, first: first)
        hidden += masked.map { Int32(first) + $0 }
        self.items += masked.map { items[items.startIndex + Int($0)] }
    }

    /// An item is to be found at the end of a session.
    mutating func append(history: [Int32], events: [Int32], item: Int32) {
        let first = tokens.rows
        let isMasked = settings.masking == .mlm
        tokens.append(
            items: history,
            events: events,
            hasMask: isMasked,
            paddedTo: settings.isTransformers4Rec ? settings.length : 0
        )
        let last = Int32(isMasked ? history.count : history.count - 1)
        selected.append(CollectionOfOne(last), first: first)
        if isMasked { hidden.append(Int32(first) + last) }
        items.append(item)
    }

    /// Transformers4Rec's rules: each place with this probability, one in any case, never all.
    static func masked(
        _ count: Int,
        _ probability: Double,
        _ generator: inout SeededGenerator
    ) -> [Int32] {
        var isMasked = (0..<count).map { _ in Double(generator.unitFloat()) < probability }
        isMasked[generator.index(below: count)] = true
        if !isMasked.contains(false) { isMasked[generator.index(below: count)] = false }
        return isMasked.indices.filter { isMasked[$0] }.map { Int32($0) }
    }
}
