// SPDX-License-Identifier: Apache-2.0
import Tables
import TestSupport
import Testing

@testable import Predictor

@Suite struct PopularListsTests {
    private let folder: TemporaryFolder
    private let dataset: Dataset
    /// Of each event: who, from where, what, on which device.
    private let events: [(user: Int, city: String, item: Int, device: String)]

    init() throws {
        folder = try TemporaryFolder()
        let folder = folder
        events = (0..<4000).map { event in
            let user = event * 7919 % 60
            return (
                user, ["Rome", "Milan", "Pisa", ""][user % 4], event * event % 37,
                event % 3 == 0 ? "tv" : "phone"
            )
        }
        func write(_ lines: [String], _ name: String) throws -> TableSource {
            TableSource(.csv, try folder.write(lines.joined(separator: "\n"), to: name))
        }
        var settings = DatasetSettings(
            source: try write(
                ["user,item,time,device"]
                    + events.enumerated().map {
                        "u\($1.user),i\($1.item),\($0),\($1.device)"
                    },
                "events.csv"
            ),
            columns: .init(user: "user", item: "item", time: "time")
        )
        settings.users = EntityTable(
            table: try write(
                ["user,city"] + (0..<60).map { "u\($0),\(["Rome", "Milan", "Pisa", ""][$0 % 4])" },
                "users.csv"
            ),
            id: "user"
        )
        settings.items = EntityTable(
            table: try write(
                ["item,genres"] + (0..<37).map { "i\($0),\($0 % 2 == 0 ? "a|b" : "b")" },
                "items.csv"
            ),
            id: "item"
        )
        settings.features = [
            Feature("city", of: .users, .category(.init(column: "city"))),
            Feature("hashed", of: .users, .category(.init(column: "city", hashBuckets: 3))),
            Feature("device", of: .events, .category(.init(column: "device"))),
            Feature("genres", of: .items, .category(.init(column: "genres", separator: "|"))),
        ]
        dataset = try settings.built().dataset
    }

    /// Counted by hand, in the words of the source.
    private func expected(_ isOf: (Int) -> Bool, _ isListed: (Int) -> Bool) -> [(String, Float)] {
        var counts = [Int](repeating: 0, count: 37)
        for (place, event) in events.enumerated() where isOf(place) { counts[event.item] += 1 }
        let order = { (item: Int) in dataset.items.index(of: "i\(item)") ?? -1 }
        return counts.indices.filter { counts[$0] > 0 && isListed($0) }
            .sorted { (counts[$1], order($0)) < (counts[$0], order($1)) }
            .map { ("i\($0)", Float(counts[$0])) }
    }

    private func check(_ entry: PopularLists.Entry, _ expected: [(String, Float)]) {
        let found = zip(entry.list.items, entry.list.scores).map { (dataset.items[Int($0)], $1) }
        #expect(found.count == expected.count)
        for (found, expected) in zip(found, expected) { #expect(found == expected) }
    }

    @Test func `segments and categories are counted as by hand`() throws {
        let lists = PopularLists(dataset, k: 5)
        let none = RankedList(items: [], scores: [], isCold: true)
        let cities = try lists.segments(by: "city", filledWith: none)
        // Those from nowhere have no name to ask by.
        #expect(cities.map(\.value).sorted() == ["Milan", "Pisa", "Rome"])
        for entry in cities {
            check(
                entry,
                Array(expected({ events[$0].city == entry.value }, { _ in true }).prefix(5))
            )
        }
        for entry in try lists.segments(by: "device", filledWith: none) {
            check(
                entry,
                Array(expected({ events[$0].device == entry.value }, { _ in true }).prefix(5))
            )
        }
        for entry in try lists.categories(by: "genres") {
            check(
                entry,
                Array(
                    expected({ _ in true }, { entry.value == "b" || $0 % 2 == 0 }).prefix(5)
                )
            )
        }
        #expect(try lists.segments(by: "hashed", filledWith: none).isEmpty)
    }

    @Test func `withdrawn items are in none, and segments are filled up`() throws {
        let popular = try Ranker(
            Popularity.train(dataset, on: .all),
            fallback: Popularity.train(dataset, on: .all),
            ListRules(k: 37)
        ).defaultList()
        let withdrawn = Array(popular.items.prefix(2))
        let lists = PopularLists(dataset, k: 36, withdrawn: withdrawn)
        var rest = popular
        rest.items.removeFirst(2)
        rest.scores.removeFirst(2)
        for entry in try lists.segments(by: "city", filledWith: rest) {
            // All that there are: squares leave few rests by 37.
            #expect(Set(entry.list.items) == Set(rest.items))
            #expect(entry.list.items.count == rest.items.count)
        }
        for entry in try lists.categories(by: "genres") {
            #expect(Set(entry.list.items).isDisjoint(with: withdrawn))
        }
    }

    @Test func `what is no category is refused`() {
        let lists = PopularLists(dataset, k: 5)
        for name in ["city", "nothing"] {
            #expect(throws: PredictorError.self) { try lists.categories(by: name) }
        }
        #expect(throws: PredictorError.self) {
            try lists.segments(
                by: "genres",
                filledWith: RankedList(items: [], scores: [], isCold: true)
            )
        }
    }
}
