// SPDX-License-Identifier: Apache-2.0
import Tables

/// The users and items of a dataset, in its order: those that had an index before, then those that
/// events are left of.
struct EventIndex {
    let users: StringTable
    let items: StringTable
    /// Those that have events.
    let userCount: Int
    let itemCount: Int
    /// For each index of the source's vocabulary the dataset's, or -1.
    let newUser: [Int32]
    let newItem: [Int32]
    /// Training events of each, in the dataset's order.
    let userTrainCounts: [Int]
    let itemTrainCounts: [Int]
    /// The dataset's user of each event; empty unless `keepsUsers`.
    let userOfEvent: Spool<Int32>

    /// Only what a model may learn from decides the order of new items; users stand as they came.
    init(
        _ events: GroupedEvents,
        _ parts: Spool<UInt8>,
        users: Vocabulary,
        items: Vocabulary,
        base: DatasetBuilder.Base,
        keepsUsers: Bool,
        _ space: SpoolSpace
    ) throws(PredictorError) {
        var counts = [Int](repeating: 0, count: items.count)
        var itemCounts = counts
        var userCounts = [Int](repeating: 0, count: users.count)
        let owners = Spool<Int32>(space)
        try events.forEachSequence { user, _, range throws(PredictorError) in
            for event in range {
                let item = Int(events.items[event])
                counts[item] += 1
                if keepsUsers { try owners.append(Int32(user)) }
                guard parts[event] == Part.train.rawValue else { continue }
                itemCounts[item] += 1
                userCounts[user] += 1
            }
        }
        itemCount = counts.count { $0 > 0 }
        userCount = (0..<users.count).count { events.userSequences[$0] > 0 }
        (self.items, newItem) = items.ordered(from: base.items.count, by: itemCounts) {
            counts[$0] > 0
        }
        (self.users, newUser) = users.ordered(from: base.users.count, by: nil) {
            events.userSequences[$0] > 0
        }
        itemTrainCounts = Self.ordered(itemCounts, newItem, count: self.items.count)
        userTrainCounts = Self.ordered(userCounts, newUser, count: self.users.count)
        for event in 0..<owners.count { owners[event] = newUser[Int(owners[event])] }
        userOfEvent = owners
    }

    private static func ordered(_ counts: [Int], _ new: [Int32], count: Int) -> [Int] {
        var ordered = [Int](repeating: 0, count: count)
        for (old, place) in new.enumerated() where place >= 0 { ordered[Int(place)] = counts[old] }
        return ordered
    }
}

extension Vocabulary {
    /// The ids that are kept, and for each old index its new one or -1.
    ///
    /// Those before `first` stay where they are. Of the others the most frequent come first, ties in
    /// the order of their bytes, which knows nothing of any row; without counts they stand as they
    /// came.
    func ordered(
        from first: Int = 0,
        by counts: [Int]?,
        _ isKept: (Int) -> Bool
    ) -> (StringTable, newIndex: [Int32]) {
        var order = (first..<count).filter(isKept)
        if let counts {
            order.sort {
                counts[$0] != counts[$1]
                    ? counts[$0] > counts[$1]
                    : ids.bytes[ids.range($0)].lexicographicallyPrecedes(ids.bytes[ids.range($1)])
            }
        }
        var newIndex = [Int32](repeating: -1, count: count)
        var ordered = StringTable()
        order.insert(contentsOf: 0..<first, at: 0)
        for (new, old) in order.enumerated() {
            newIndex[old] = Int32(new)
            ordered.append(ids.bytes[ids.range(old)])
        }
        return (ordered, newIndex)
    }
}
