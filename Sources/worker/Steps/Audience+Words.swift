// SPDX-License-Identifier: Apache-2.0
import CacheWriter
import Predictor

extension Audience {
    /// For people.
    var words: String { self == .inverse ? "items, of users" : rawValue }
}

extension Lookup {
    private var audience: Audience? { Audience(rawValue: listsFor) }
    /// Whether the id is an item's.
    var isForItems: Bool { audience?.owners == .items }
    /// Whether the entries are items.
    var isOfItems: Bool { audience != .inverse }
}
