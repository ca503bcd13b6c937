// SPDX-License-Identifier: Apache-2.0
import CacheWriter

/// What goes with the items of a session, from the lists of those items.
///
/// Reciprocal rank fusion (Cormack, Clarke and Büttcher, SIGIR 2009): an item is worth the sum of
/// 1 / (60 + its place) over the lists that have it; here the list of an item counts a fifth less for
/// every newer item of the session.
struct SessionLookup {
    /// The lists of so many newest items are used.
    static let longest = 10
    private static let fading = 0.8

    /// The newest items, newest first.
    let items: [String]
    private let met: Set<String>

    /// `items`: oldest first.
    init(_ items: [String]) {
        met = Set(items)
        var seen: Set<String> = []
        self.items = Array(
            items.reversed().filter { seen.insert($0).inserted }.prefix(Self.longest)
        )
    }

    /// The k best of the lists of `items`, in their order, without what the session has had.
    ///
    /// Nil where none of them has a list of its own.
    func merged(_ lists: [Lookup], k: Int) -> [ListFormat.Entry]? {
        var worth: [String: (sum: Double, first: Int)] = [:]
        var weight = 1.0
        for list in lists {
            defer { weight *= Self.fading }
            guard list.source == .list else { continue }
            for (place, entry) in list.entries.enumerated() where !met.contains(entry.id) {
                let met = worth.count
                worth[entry.id, default: (0, met)].sum += weight / Double(61 + place)
            }
        }
        guard lists.contains(where: { $0.source == .list }) else { return nil }
        return worth.sorted { ($1.value.sum, $0.value.first) < ($0.value.sum, $1.value.first) }
            .prefix(k).map { ListFormat.Entry(id: $0.key, score: $0.value.sum) }
    }

    /// What is left of the default list.
    func unmet(_ entries: [ListFormat.Entry], k: Int) -> [ListFormat.Entry] {
        Array(entries.lazy.filter { !met.contains($0.id) }.prefix(k))
    }
}
