// SPDX-License-Identifier: Apache-2.0
private import Glibc
private import Tables

/// Which events are examples, and whether they are liked.
struct RatingExamples: Sendable {
    /// One an event, of all parts.
    private let labels: [Float]?
    private let settings: RatingMLPSettings
    /// Items that are drawn as not liked, by those who did not have them.
    private let drawn: [Int32]
    /// In the parts that are trained on, and in all.
    private let hadInTraining: OwnItems?
    private let had: OwnItems?

    /// `parts`: what is trained on; only items of it are drawn.
    init(_ dataset: Dataset, on parts: Set<Part>, _ settings: RatingMLPSettings)
        throws(PredictorError)
    {
        self.settings = settings
        let counts = dataset.itemCounts(in: parts)
        drawn = counts.indices.filter { counts[$0] > 0 }.map { Int32($0) }
        guard let label = settings.label else {
            labels = nil
            hadInTraining = OwnItems(dataset, in: parts)
            had = OwnItems(dataset, in: .all)
            return
        }
        hadInTraining = nil
        had = nil
        let columns = dataset.schema.columns(of: .events).filter { $0.type == .number }
        guard let column = columns.first(where: { $0.name == label.column }) else {
            let there = columns.map(\.name)
            throw .input(
                """
                the label is of \(label.column), which is no number of the dataset's events\
                \(there.isEmpty ? "" : "; these are: \(there.joined(separator: ", "))")
                """,
                hint: "name it under `dataset: features: events:`, as a number"
            )
        }
        guard case .numbers(let values) = try dataset.values(of: column) else {
            throw .input("\(label.column) is no number")
        }
        let holds = label.numberTest()
        labels = values.map { x in
            // As it stood in the source, whatever was made of it.
            holds(column.fit.map { Self.rounded($0.value(of: x)) } ?? x) ? 1 : 0
        }
        var found: Set<Float> = []
        for event in dataset.eventParts.indices
        where parts.contains(where: { $0.rawValue == dataset.eventParts[event] }) {
            found.insert(labels?[event] ?? 0)
        }
        guard found.count == 2 else {
            throw .input(
                """
                \(found == [1] ? "all" : "none") of the training events are \(label): there is \
                nothing to tell apart
                """,
                hint: "choose another `label:`, or keep the other events in `dataset: keep:`"
            )
        }
    }

    /// To six digits: what scaling there and back has changed is behind them.
    private static func rounded(_ value: Float) -> Float {
        guard value.isFinite, value != 0 else { return value }
        let unit = pow(10, (5 - log10(abs(Double(value))).rounded(.down)))
        return Float((Double(value) * unit).rounded() / unit)
    }

    /// Users, items and labels of a batch of events.
    struct Batch {
        var users: [Int32] = []
        var items: [Int32] = []
        var labels: [Float] = []
    }

    /// Users, items and labels of these events, and of what is drawn beside them.
    ///
    /// `knowing`: none that a user had in these parts is drawn for the user. While it is trained, a
    /// model must not learn from what is drawn what comes later.
    func batch(
        events: [Int32],
        users: [Int32],
        items: [Int32],
        stream: Int,
        knowing parts: Set<Part> = .forTraining
    ) -> Batch {
        let own = parts == .all ? had : hadInTraining
        guard labels == nil else {
            return Batch(
                users: users,
                items: items,
                labels: events.map { labels?[Int($0)] ?? 0 }
            )
        }
        var generator = SeededGenerator(seed: settings.training.seed &+ 1, stream: stream)
        var batch = Batch()
        for (user, item) in zip(users, items) {
            batch.users.append(user)
            batch.items.append(item)
            batch.labels.append(1)
            for _ in 0..<settings.negatives {
                batch.users.append(user)
                batch.items.append(draw(for: user, without: own, &generator))
                batch.labels.append(0)
            }
        }
        return batch
    }

    /// After a few that the user had, whichever it is: someone may have had nearly all.
    private func draw(
        for user: Int32,
        without own: OwnItems?,
        _ generator: inout SeededGenerator
    ) -> Int32 {
        var item: Int32 = 0
        for _ in 0..<16 {
            item = drawn[generator.index(below: drawn.count)]
            if own?.contains(item, of: user) != true { break }
        }
        return item
    }
}

/// What each user had in some parts.
private struct OwnItems: Sendable {
    /// users + 1 entries; the items of user u, ascending, are those from `[u]` up to `[u + 1]`.
    private var offsets: [Int] = [0]
    private var items: [Int32] = []

    init(_ dataset: Dataset, in parts: Set<Part>) {
        let wanted = parts.map(\.rawValue)
        for user in 0..<dataset.users.count {
            let events = dataset.events(ofUser: user).lazy.filter {
                wanted.contains(dataset.eventParts[$0])
            }
            items += Set(events.map { dataset.eventItems[$0] }).sorted()
            offsets.append(items.count)
        }
    }

    func contains(_ item: Int32, of user: Int32) -> Bool {
        var (low, high) = (offsets[Int(user)], offsets[Int(user) + 1])
        while low < high {
            let middle = (low + high) / 2
            if items[middle] < item { low = middle + 1 } else { high = middle }
        }
        return low < offsets[Int(user) + 1] && items[low] == item
    }
}
