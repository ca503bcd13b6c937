// SPDX-License-Identifier: Apache-2.0
import Tables
import TestSupport
import Testing

@testable import Predictor

/// Indices over a feed's datasets.
struct StableVocabularyTests {
    private let folder: TemporaryFolder

    init() throws { folder = try TemporaryFolder() }

    private func build(
        _ rows: [String],
        base: Dataset? = nil,
        split: Split = .leaveLastOne(validation: false)
    ) throws -> (Dataset, DatasetBuilder.Summary) {
        let events = try folder.write(
            "user,item,time\n" + rows.enumerated().map { "\($1),\($0)\n" }.joined(),
            to: "events.csv"
        )
        let place = try TemporaryFolder()
        let summary = try DatasetBuilder.build(
            DatasetSettings(
                source: TableSource(.csv, events),
                columns: .init(user: "user", item: "item", time: "time"),
                split: split
            ),
            into: place.path,
            base: base.map { .init(users: $0.users, items: $0.items) } ?? .init()
        )
        return (try Dataset(from: place.path), summary)
    }

    private func ids(_ vocabulary: Vocabulary) -> [String] {
        (0..<vocabulary.count).map { vocabulary[$0] }
    }

    @Test func `ids keep their index, new ones come behind, dropped ones are not used again`()
        throws
    {
        let (first, _) = try build(["a,x", "a,y", "b,x", "b,y", "b,z", "c,x", "c,w"])
        // c and w are gone, d and the items v and u are new, v the more frequent in training.
        let (second, summary) = try build(
            ["d,u", "d,v", "a,x", "b,v", "b,v", "b,y", "a,z"],
            base: first
        )
        #expect(ids(second.users) == ids(first.users) + ["d"])
        #expect(ids(second.items) == ids(first.items) + ["v", "u"])
        #expect(summary.users == 3 && summary.knownUsers == 4)
        #expect(summary.items == 5 && summary.knownItems == 6)
        let events = (0..<second.users.count).flatMap { user in
            second.events(ofUser: user).map {
                "\(second.users[user]) \(second.items[Int(second.eventItems[$0])])"
            }
        }
        #expect(events == ["a x", "a z", "b v", "b v", "b y", "d u", "d v"])
        let (third, _) = try build(["c,w", "e,x"], base: second)
        #expect(ids(third.users) == ids(second.users) + ["e"])
        #expect(third.items.index(of: "w") == first.items.index(of: "w"))
        #expect(ids(third.items) == ids(second.items))
    }

    @Test func `the same rows on top of their own vocabulary give the same files`() throws {
        let rows = ["a,x", "a,y", "b,x", "b,y", "b,z", "c,x", "c,w"]
        let (first, _) = try build(rows)
        let (second, _) = try build(rows, base: first)
        #expect(ids(first.users) == ids(second.users) && ids(first.items) == ids(second.items))
        #expect(Array(first.eventItems) == Array(second.eventItems))
        #expect(Array(first.userSequences) == Array(second.userSequences))
    }

    @Test func `users without events disturb nothing`() throws {
        let (first, _) = try build((0..<40).flatMap { ["u\($0),x", "u\($0),y", "u\($0),z"] })
        let late = (20..<40).flatMap { ["u\($0),x", "u\($0),y"] }
        let (second, _) = try build(
            late,
            base: first,
            split: .users(validation: 0, test: 0.5, seed: 1)
        )
        #expect(second.users.count == 40 && second.events(ofUser: 3).isEmpty)
        #expect(second.eventParts.count { $0 == Part.test.rawValue } == 20)
        let loader = try BatchLoader(
            second,
            .events((0..<Int32(second.eventItems.count)).map { $0 }),
            batchSize: 7,
            seed: 1
        )
        try loader.forEachBatch(ofEpoch: 1) { batch, _ in
            for (event, user) in zip(batch.events, batch.users) {
                #expect(second.events(ofUser: Int(user)).contains(Int(event)))
            }
        }
        let popular = Popularity.train(second, on: .all)
        #expect(popular.items.count == 2, "z has no events any more")
        #expect(try DatasetProfile(second).userEvents.bins.first?.count == 20)
    }
}
