// SPDX-License-Identifier: Apache-2.0

/// Users and items with too few events, taken out again and again until all that are left have
/// enough: the k-core of the bipartite graph (Seidman 1983), with its own k for each side.
struct KCore {
    private(set) var isUserKept: [Bool]
    private(set) var isItemKept: [Bool]
    private(set) var rounds = 0

    init(
        _ events: GroupedEvents,
        itemCount: Int,
        minUserEvents: Int,
        minItemEvents: Int
    ) throws(PredictorError) {
        isUserKept = Array(repeating: true, count: events.userSequences.count)
        isItemKept = Array(repeating: true, count: itemCount)
        var isStable = false
        while !isStable {
            isStable = true
            rounds += 1
            var userEvents = [Int](repeating: 0, count: isUserKept.count)
            var itemEvents = [Int](repeating: 0, count: itemCount)
            try events.forEachSequence { user, _, range in
                guard isUserKept[user] else { return }
                for event in range {
                    let item = Int(events.items[event])
                    guard isItemKept[item] else { continue }
                    userEvents[user] += 1
                    itemEvents[item] += 1
                }
            }
            for user in isUserKept.indices
            where isUserKept[user] && userEvents[user] < minUserEvents {
                isUserKept[user] = false
                if userEvents[user] > 0 { isStable = false }
            }
            for item in isItemKept.indices
            where isItemKept[item] && itemEvents[item] < minItemEvents {
                isItemKept[item] = false
                if itemEvents[item] > 0 { isStable = false }
            }
        }
    }
}
