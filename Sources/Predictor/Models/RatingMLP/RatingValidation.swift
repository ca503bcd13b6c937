// SPDX-License-Identifier: Apache-2.0
private import Tables

/// The examples of what was kept back.
struct RatingValidation: Sendable {
    /// Events that are looked at, at most.
    private static let most = 200_000

    private let batch: RatingExamples.Batch

    init(_ dataset: Dataset, _ examples: RatingExamples, part: Part = .validation, seed: Int) {
        var (events, users): ([Int32], [Int32]) = ([], [])
        for user in 0..<dataset.users.count {
            for event in dataset.events(ofUser: user)
            where dataset.eventParts[event] == part.rawValue {
                events.append(Int32(event))
                users.append(Int32(user))
            }
        }
        var generator = SeededGenerator(seed: seed, stream: -2)
        let chosen = events.indices.shuffled(using: &generator).prefix(Self.most).sorted()
        batch = examples.batch(
            events: chosen.map { events[$0] },
            users: chosen.map { users[$0] },
            items: chosen.map { dataset.eventItems[Int(events[$0])] },
            stream: -1,
            knowing: .all
        )
    }

    /// Whether there is anything to tell apart.
    var isTelling: Bool { Set(batch.labels).count == 2 }

    func report(of model: RatingModel, _ progress: (Double) throws -> Void) throws
        -> RatingReport
    {
        var logits: [Float] = []
        for first in stride(from: 0, to: batch.users.count, by: 8192) {
            try progress(Double(first) / Double(batch.users.count))
            let range = first..<min(first + 8192, batch.users.count)
            logits += model.logits(range.map { (batch.users[$0], [batch.items[$0]]) })
                .map { $0[0] }
        }
        return RatingReport(logits, labels: batch.labels)
    }
}
