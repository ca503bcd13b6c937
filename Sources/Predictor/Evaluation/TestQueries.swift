// SPDX-License-Identifier: Apache-2.0
private import Tables

/// The queries of a split, and what came.
///
/// For users: the history is what came before the events kept back, and those are the truth.
/// For items, the Metaflow tutorial's protocol: the last item of each sequence that ends in the
/// part is to be found from the item before it. For sessions: from all that are before it in the
/// sequence.
struct TestQueries {
    private(set) var queries: [Query] = []
    private(set) var truths: [Set<Int32>] = []
    /// The place of each before they were sorted: as good as chance for who stands beside whom.
    private(set) var numbers: [Int] = []
    /// Another where their order has become another.
    private(set) var order: Int?

    /// `part`: what was kept back; later parts are not yet known.
    init(_ dataset: Dataset, for audience: Audience, part: Part = .test) {
        switch audience {
        case .users: addUsers(dataset, part)
        case .items:
            addSequences(dataset, part, from: 1)
            sortByItem()
        case .sessions: addSequences(dataset, part, from: .max)
        }
        if numbers.isEmpty { numbers = Array(queries.indices) }
    }

    private mutating func addUsers(_ dataset: Dataset, _ part: Part) {
        for user in 0..<dataset.users.count {
            var history: [Int] = []
            var truth: Set<Int32> = []
            for event in dataset.events(ofUser: user) {
                if dataset.eventParts[event] == part.rawValue {
                    truth.insert(dataset.eventItems[event])
                } else if dataset.eventParts[event] < part.rawValue {
                    history.append(event)
                }
            }
            if truth.isEmpty { continue }
            queries.append(Query(user: Int32(user), events: history, of: dataset))
            truths.append(truth)
        }
    }

    /// Many ask for the same item, and its list is made once where they stand together.
    private mutating func sortByItem() {
        let order = queries.indices.sorted {
            (queries[$0].history[0], $0) < (queries[$1].history[0], $1)
        }
        queries = order.map { queries[$0] }
        truths = order.map { truths[$0] }
        numbers = order
        self.order = 2
    }

    /// `from`: so many items before the last.
    private mutating func addSequences(_ dataset: Dataset, _ part: Part, from most: Int) {
        for user in 0..<dataset.users.count {
            for sequence in dataset.sequences(ofUser: user) {
                // Later parts are not known yet.
                let events = dataset.events(ofSequence: sequence).filter {
                    dataset.eventParts[$0] <= part.rawValue
                }
                guard let last = events.last, events.count >= 2,
                    dataset.eventParts[last] == part.rawValue
                else { continue }
                queries.append(
                    Query(user: Int32(user), events: events.dropLast().suffix(most), of: dataset)
                )
                truths.append([dataset.eventItems[last]])
            }
        }
    }
}
