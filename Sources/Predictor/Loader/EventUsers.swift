// SPDX-License-Identifier: Apache-2.0
private import Tables

/// Whose each event is.
///
/// Events stand by users, in their order, so a user is found by bisection: among those of a few events, which are
/// near each other in memory, not among all.
struct EventUsers: Sendable {
    /// The first event of each.
    private let starts: [Int32]
    /// The user of the first event of each block, and the last user at the end.
    private let firsts: [Int32]
    private static let block = 64

    init(_ dataset: Dataset) {
        let starts = (0..<dataset.users.count).map { user in
            Int32(dataset.sequenceOffsets[Int(dataset.userSequences[user])])
        }
        self.starts = starts
        var user = 0
        var firsts: [Int32] = []
        for event in stride(from: 0, to: dataset.eventItems.count, by: Self.block) {
            while user + 1 < starts.count, starts[user + 1] <= event { user += 1 }
            firsts.append(Int32(user))
        }
        firsts.append(Int32(max(0, starts.count - 1)))
        self.firsts = firsts
    }

    func user(of event: Int32) -> Int32 {
        let block = Int(event) / Self.block
        var (low, high) = (firsts[block], firsts[block + 1])
        while low < high {
            let middle = low + (high - low + 1) / 2
            if starts[Int(middle)] <= event { low = middle } else { high = middle - 1 }
        }
        return low
    }
}
