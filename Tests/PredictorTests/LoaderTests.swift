// SPDX-License-Identifier: Apache-2.0
import Synchronization
import Tables
import TestSupport
import Testing

@testable import Predictor

struct LoaderTests {
    private let dataset: Dataset

    init() throws {
        let folder = try TemporaryFolder()
        let size = Shop.Size(events: 40_000, users: 900, items: 300, days: 20)
        try Shop.write(to: folder.path, size, seed: 1)
        dataset = try DatasetSettings(
            source: TableSource(.csv, "\(folder.path)/events.csv"),
            columns: .init(user: "user_id", item: "item_id", time: "timestamp"),
            sessions: .init(by: .column("session_id")),
            users: EntityTable(table: .init(.csv, "\(folder.path)/users.csv"), id: "user_id"),
            items: EntityTable(table: .init(.csv, "\(folder.path)/items.csv"), id: "item_id"),
            features: [
                Feature("country", of: .users, .category(.init(column: "country"))),
                Feature("tags", of: .items, .category(.init(column: "tags", separator: "|"))),
                Feature("price", of: .events, .number(column: "price", .init(log: true))),
            ]
        ).built().0
    }

    private var userOfEvent: [Int32] {
        (0..<dataset.users.count).flatMap { user in
            dataset.events(ofUser: user).map { _ in Int32(user) }
        }
    }

    private var allEvents: [Int32] { (0..<Int32(dataset.eventItems.count)).map { $0 } }

    private func epoch(_ loader: BatchLoader, _ number: Int) throws -> [[Int32]] {
        var batches: [[Int32]] = []
        let owners = userOfEvent
        var next: [Int32]?
        try loader.forEachBatch(ofEpoch: number) { batch, following in
            #expect(batches.isEmpty || batch.examples == next)
            next = following?.examples
            batches.append(batch.examples)
            let users = batch.offsets.dropLast().map { owners[Int(batch.events[Int($0)])] }
            #expect(batch.users == users)
        }
        #expect(next == nil)
        return batches
    }

    @Test func `an epoch has every example once, in an order of its own that can be repeated`()
        throws
    {
        let wanted = allEvents.filter { $0 % 3 != 0 }
        let loader = try BatchLoader(dataset, .events(wanted), batchSize: 500, seed: 1)
        let first = try epoch(loader, 1)
        #expect(first.count == loader.batchCount)
        #expect(first.dropLast().allSatisfy { $0.count == 500 })
        #expect(first.joined().sorted() == wanted)
        #expect(try epoch(loader, 1) == first)
        #expect(try epoch(loader, 2) != first)
        let other = try BatchLoader(dataset, .events(wanted), batchSize: 500, seed: 2)
        #expect(try epoch(other, 1) != first)
    }

    @Test func `many examples are mixed by blocks, sixteen at a time, few as a whole`() throws {
        let blocks = (dataset.eventItems.count + BatchLoader.block - 1) / BatchLoader.block
        #expect(blocks > 32)
        func blocksOfFirstBatches(_ mixedWhole: Int) throws -> Int {
            let loader = try BatchLoader(
                dataset,
                .events(allEvents),
                batchSize: 1024,
                seed: 1,
                mixedWhole: mixedWhole
            )
            let batches = try epoch(loader, 1)
            #expect(batches.joined().sorted() == allEvents)
            return Set(batches[0].map { Int($0) / BatchLoader.block }).count
        }
        #expect(try blocksOfFirstBatches(allEvents.count) == blocks)
        #expect(try blocksOfFirstBatches(allEvents.count - 1) <= 16)
        #expect(try blocksOfFirstBatches(allEvents.count - 1) > 8)
    }

    @Test func `a smaller last batch is left out on demand, and order kept`() throws {
        let loader = try BatchLoader(
            dataset,
            .events(allEvents),
            batchSize: 512,
            seed: 1,
            isShuffled: false,
            dropsLast: true
        )
        let batches = try epoch(loader, 1)
        #expect(
            batches.count == dataset.eventItems.count / 512 && batches.count == loader.batchCount
        )
        #expect(Array(batches.joined()) == Array(allEvents.prefix(batches.count * 512)))
    }

    @Test func `batches hold what the dataset says`() throws {
        let columns = dataset.schema.columns
        let loader = try BatchLoader(
            dataset,
            .sequences((0..<Int32(dataset.sequenceCount)).map { $0 }, last: 4),
            columns: columns,
            batchSize: 64,
            seed: 3
        )
        var userOfSequence: [Int32] = []
        for user in 0..<dataset.users.count {
            for _ in dataset.userSequences[user]..<dataset.userSequences[user + 1] {
                userOfSequence.append(Int32(user))
            }
        }
        let values = try columns.filter { $0.type != .id }.map { try dataset.values(of: $0) }
        var sequences = 0
        try loader.forEachBatch(ofEpoch: 1) { batch, _ in
            sequences += batch.count
            #expect(batch.users == batch.examples.map { userOfSequence[Int($0)] })
            var events: [Int32] = []
            for (place, sequence) in batch.examples.enumerated() {
                let own = dataset.events(ofSequence: Int(sequence)).suffix(4).map { Int32($0) }
                events += own
                let range = Int(batch.offsets[place])..<Int(batch.offsets[place + 1])
                #expect(Array(batch.events[range]) == own)
            }
            #expect(batch.items == events.map { dataset.eventItems[Int($0)] })
            for (feature, values) in zip(batch.features, values) {
                let rows =
                    switch feature.column.entity {
                    case .users: batch.users
                    case .items: batch.items
                    case .events: batch.events
                    }
                switch values {
                case .codes(let column): #expect(feature.codes == rows.map { column[Int($0)] })
                case .numbers(let column): #expect(feature.numbers == rows.map { column[Int($0)] })
                case .lists(let column, let offsets):
                    for (place, row) in rows.enumerated() {
                        let range = Int(offsets[Int(row)])..<Int(offsets[Int(row) + 1])
                        let own = Int(feature.offsets[place])..<Int(feature.offsets[place + 1])
                        #expect(Array(feature.codes[own]) == Array(column[range]))
                    }
                }
            }
        }
        #expect(sequences == dataset.sequenceCount)
    }

    @Test(.timeLimit(.minutes(1))) func `an epoch that is broken off leaves nothing behind`() throws
    {
        struct Enough: Error {}
        let loader = try BatchLoader(dataset, .events(allEvents), batchSize: 10, seed: 1)
        for stop in [1, 2, 7] {
            var seen = 0
            #expect(throws: Enough.self) {
                try loader.forEachBatch(ofEpoch: 1) { _, _ in
                    seen += 1
                    if seen == stop { throw Enough() }
                }
            }
            #expect(seen == stop)
        }
        let none = try BatchLoader(dataset, .events([]), batchSize: 10, seed: 1)
        #expect(try epoch(none, 1).isEmpty)
    }

    @Test func `windows of a day hold the sequences that begin on it`() throws {
        let windows = dataset.windows(of: 86_400)
        #expect(windows.count >= 20)
        #expect(windows.map(\.start) == windows.map(\.start).sorted())
        #expect(windows.flatMap(\.sequences).sorted() == Array(0..<dataset.sequenceCount))
        for window in windows {
            for sequence in window.sequences {
                let first = Int(dataset.eventTimes[dataset.events(ofSequence: sequence).lowerBound])
                #expect((window.start..<window.start + 86_400).contains(first))
            }
        }
    }
}
