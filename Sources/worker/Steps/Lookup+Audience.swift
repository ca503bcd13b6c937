// SPDX-License-Identifier: Apache-2.0
import CacheWriter
import Predictor

extension Lookup {
    /// What lists of users are for.
    static let itemsOfUsers = "items-of-users"

    /// Whether the id is an item's.
    var isForItems: Bool { listsFor == Audience.items.rawValue || !isOfItems }
    /// Whether the entries are items.
    var isOfItems: Bool { listsFor != Self.itemsOfUsers }
}
