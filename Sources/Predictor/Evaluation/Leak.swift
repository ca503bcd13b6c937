// SPDX-License-Identifier: Apache-2.0
private import Tables

extension Dataset {
    /// The share of the test events that an earlier dataset of the same feed had for training: what
    /// a model of that one has seen of the answers.
    ///
    /// Users are compared by their ids; events by user, item and time.
    package func shareOfTest(inTrainingOf earlier: Dataset) -> Double {
        struct Event: Hashable {
            let item: String
            let time: Int64
        }
        var test = 0
        var seen = 0
        for user in 0..<users.count {
            let own = events(ofUser: user).filter { eventParts[$0] == Part.test.rawValue }
            guard !own.isEmpty else { continue }
            test += own.count
            guard let before = earlier.users.index(of: users[user]) else { continue }
            let trained = Set(
                earlier.events(ofUser: Int(before)).lazy
                    .filter { earlier.eventParts[$0] == Part.train.rawValue }
                    .map { event in
                        Event(
                            item: earlier.items[Int(earlier.eventItems[event])],
                            time: earlier.eventTimes[event]
                        )
                    }
            )
            seen += own.count { event in
                trained.contains(
                    Event(item: items[Int(eventItems[event])], time: eventTimes[event])
                )
            }
        }
        return test == 0 ? 0 : Double(seen) / Double(test)
    }
}
