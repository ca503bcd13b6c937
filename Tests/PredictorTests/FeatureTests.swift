// SPDX-License-Identifier: Apache-2.0
import Foundation
import Tables
import TestSupport
import Testing

@testable import Predictor

/// Features against what a person would work out row by row.
struct FeatureTests {
    private struct Event {
        var user: Int
        var item: Int
        var time: Int
        var price: Double?
        var device: String?
    }

    private struct Item {
        var genres: [String]
        var price: Double?
        var brand: String?
    }

    private let events: [Event]
    private let items: [Item]
    private let folder: TemporaryFolder

    init() throws {
        var generator = SeededGenerator(seed: 3)
        let devices = ["phone", "tablet", "desktop", "tv", "watch"]
        items = (0..<40).map { item in
            Item(
                genres: (0..<generator.index(below: 4)).map { _ in
                    "g\(generator.index(below: 6) * generator.index(below: 3))"
                },
                price: item % 7 == 0 ? nil : Double(generator.index(below: 10_000)) / 100,
                brand: item % 9 == 0 ? nil : "b\(generator.index(below: 12))"
            )
        }
        events = (0..<1500).map { number in
            Event(
                user: generator.index(below: 60),
                item: generator.index(below: 7) * generator.index(below: 7),
                time: 1_700_000_000 + number * 977,
                price: generator.index(below: 10) == 0
                    ? nil : Double(generator.index(below: 500)) / 10,
                device: generator.index(below: 8) == 0
                    ? nil : devices[generator.index(below: 3) + generator.index(below: 3)]
            )
        }
        folder = try TemporaryFolder()
    }

    private func build(
        _ features: [Feature],
        changingTest change: (inout Event) -> Void = { _ in },
        itemsOfTest: Bool = true
    ) throws -> Dataset {
        var changed = events
        for place in changed.indices where isTest(changed[place]) { change(&changed[place]) }
        let path = try folder.write(
            "user,item,time,price,device\n"
                + changed.map {
                    "u\($0.user),i\($0.item),\($0.time),\(text($0.price)),\($0.device ?? "")\n"
                }.joined(),
            to: "events.csv"
        )
        let table = try folder.write(
            "id,title,genres,price,brand\n"
                + items.enumerated().map { number, item in
                    "i\(number),T\(number),\(item.genres.joined(separator: " | ")),"
                        + "\(text(item.price)),\(item.brand ?? "")\n"
                }.joined(),
            to: "items.csv"
        )
        return try DatasetSettings(
            source: TableSource(.csv, path),
            columns: .init(user: "user", item: "item", time: "time"),
            items: EntityTable(table: TableSource(.csv, table), id: "id", title: "title"),
            features: features,
            split: .time(validation: 0, test: Self.testSeconds)
        ).built().0
    }

    private static let testSeconds = 300_000
    private var train: [Event] { events.filter { !isTest($0) } }
    private func isTest(_ event: Event) -> Bool {
        event.time > (events.last?.time ?? 0) - Self.testSeconds
    }
    private func text(_ number: Double?) -> String { number.map { "\($0)" } ?? "" }

    private func column(_ name: String, _ dataset: Dataset) throws -> Schema.Column {
        try #require(dataset.schema.columns.first { $0.name == name })
    }

    private func codes(_ name: String, _ dataset: Dataset) throws -> [Int32] {
        guard case .codes(let codes) = try dataset.values(of: column(name, dataset)) else {
            Issue.record("\(name) is no category")
            return []
        }
        return Array(codes)
    }

    private func numbers(_ name: String, _ dataset: Dataset) throws -> [Float] {
        guard case .numbers(let numbers) = try dataset.values(of: column(name, dataset)) else {
            Issue.record("\(name) is no number")
            return []
        }
        return Array(numbers)
    }

    /// The source's row of each event of the dataset.
    private func rows(_ dataset: Dataset) -> [Event] {
        let byTime = Dictionary(uniqueKeysWithValues: events.map { ($0.time, $0) })
        return dataset.eventTimes.compactMap { byTime[Int($0)] }
    }

    private func item(_ dataset: Dataset, _ index: Int) -> Int {
        Int(dataset.items[index].dropFirst()) ?? -1
    }

    // MARK: categories

    @Test func `categories are numbered by their frequency in training, and say what they mean`()
        throws
    {
        let dataset = try build([
            Feature("device", of: .events, .category(.init(column: "device", minCount: 150)))
        ])
        let counts = Dictionary(grouping: train.compactMap(\.device)) { $0 }.mapValues(\.count)
        let known = counts.filter { $0.value >= 150 }.keys.sorted {
            (counts[$1] ?? 0, $0) < (counts[$0] ?? 0, $1)
        }
        #expect(known.count > 1 && known.count < counts.count, "the test tests something")
        let values = try dataset.dictionary("device")
        #expect((0..<values.count).map { values[$0] } == known)
        let expected = rows(dataset).map { event -> Int32 in
            guard let device = event.device else { return Code.missing }
            return known.firstIndex(of: device).map { Int32(3 + $0) } ?? Code.unknown
        }
        #expect(try codes("device", dataset) == expected)
        let schema = try column("device", dataset)
        #expect(schema.cardinality == 3 + known.count && schema.tags == [.context])
    }

    @Test func `lists are cut, counted by events, and share a vocabulary when they say so`() throws
    {
        let dataset = try build([
            Feature(
                "genres",
                of: .items,
                .category(.init(column: "genres", separator: "|", vocabulary: "genre"))
            ),
            Feature(
                "last-genre",
                of: .items,
                .category(.init(column: "genres", separator: "|", last: 1, vocabulary: "genre"))
            ),
        ])
        var counts: [String: Int] = [:]
        for event in train {
            for genre in items[event.item].genres { counts[genre, default: 0] += 1 }
            if let last = items[event.item].genres.last { counts[last, default: 0] += 1 }
        }
        let known = counts.keys.sorted { (counts[$1] ?? 0, $0) < (counts[$0] ?? 0, $1) }
        let values = try dataset.dictionary("genre")
        #expect((0..<values.count).map { values[$0] } == known)
        for (name, last) in [("genres", 9), ("last-genre", 1)] {
            guard
                case .lists(let codes, let offsets) = try dataset.values(of: column(name, dataset))
            else {
                Issue.record("\(name) is no list")
                continue
            }
            for index in 0..<dataset.items.count {
                let genres = items[item(dataset, index)].genres.suffix(last)
                let expected =
                    genres.isEmpty
                    ? [Code.missing]
                    : genres.map { genre in
                        known.firstIndex(of: genre).map { Int32(3 + $0) } ?? Code.unknown
                    }
                #expect(Array(codes[Int(offsets[index])..<Int(offsets[index + 1])]) == expected)
            }
        }
        #expect(try column("genres", dataset).tags == [.item, .list])
        #expect(dataset.title(0) == "T\(item(dataset, 0))")
    }

    @Test func `hash buckets take what is rare, or everything`() throws {
        let dataset = try build([
            Feature("all", of: .items, .category(.init(column: "brand", hashBuckets: 4))),
            Feature(
                "rare",
                of: .items,
                .category(.init(column: "brand", minCount: 150, hashBuckets: 4))
            ),
        ])
        let (all, rare) = (try codes("all", dataset), try codes("rare", dataset))
        #expect(try dataset.dictionary("all").count == 0)
        #expect(try column("all", dataset).cardinality == 6)
        let known = try dataset.dictionary("rare")
        #expect(known.count > 0)
        var bucketOf: [String: Int32] = [:]
        for index in 0..<dataset.items.count {
            guard let brand = items[item(dataset, index)].brand else {
                #expect(all[index] == Code.missing && rare[index] == Code.missing)
                continue
            }
            #expect((2..<6).contains(all[index]))
            #expect(bucketOf.updateValue(all[index], forKey: brand) ?? all[index] == all[index])
            if let place = (0..<known.count).first(where: { known[$0] == brand }) {
                #expect(rare[index] == Int32(6 + place))
            } else {
                #expect(rare[index] == all[index])
            }
        }
        #expect(Set(bucketOf.values).count > 1)
    }

    @Test func `buckets are places among boundaries`() throws {
        let dataset = try build([
            Feature("band", of: .items, .bucket(column: "price", boundaries: [20, 50, 80]))
        ])
        let codes = try codes("band", dataset)
        for index in 0..<dataset.items.count {
            let price = items[item(dataset, index)].price
            let expected = price.map { price in 3 + Int32([20, 50, 80].count { price >= $0 }) }
            #expect(codes[index] == expected ?? Code.missing)
        }
        #expect(try column("band", dataset).cardinality == 7)
    }

    // MARK: numbers

    @Test(arguments: [Feature.Scaling.Scale.none, .standard, .minMax], [false, true])
    func `numbers are scaled by training events, and can be turned back`(
        _ scale: Feature.Scaling.Scale,
        _ log: Bool
    ) throws {
        let scaling = Feature.Scaling(fill: .median, log: log, scale: scale)
        let dataset = try build([
            Feature("price", of: .items, .number(column: "price", scaling)),
            Feature("paid", of: .events, .number(column: "price", scaling)),
        ])
        func expected(_ training: [Double], _ all: [Double?]) -> [Double] {
            let known = training.map { log ? log1p($0) : $0 }.sorted()
            let mean = known.reduce(0, +) / Double(known.count)
            let variance = known.reduce(0) { $0 + ($1 - mean) * ($1 - mean) } / Double(known.count)
            let (shift, divisor) =
                switch scale {
                case .none: (0.0, 1.0)
                case .standard: (mean, variance.squareRoot())
                case .minMax: (known[0], known[known.count - 1] - known[0])
                }
            let median = known[(known.count - 1) / 2]
            return all.map { (($0.map { log ? log1p($0) : $0 } ?? median) - shift) / divisor }
        }
        func compare(_ name: String, _ wanted: [Double], _ original: [Double?]) throws {
            let fit = try #require(try column(name, dataset).fit)
            for (x, (wanted, value)) in zip(try numbers(name, dataset), zip(wanted, original)) {
                #expect(abs(Double(x) - wanted) < 1e-4)
                if let value { #expect(abs(Double(fit.value(of: x)) - value) < 1e-2) }
            }
        }
        let prices = (0..<dataset.items.count).map { items[item(dataset, $0)].price }
        try compare("price", expected(train.compactMap { items[$0.item].price }, prices), prices)
        let paid = rows(dataset).map(\.price)
        try compare("paid", expected(train.compactMap(\.price), paid), paid)
    }

    @Test func `hours and weekdays are those of the place, and items have an age`() throws {
        let dataset = try build([
            Feature("hour", of: .events, .time(.hour, zone: "Europe/Rome")),
            Feature("day", of: .events, .time(.weekday, zone: "Europe/Rome")),
            Feature("age", of: .events, .age(.init())),
        ])
        var calendar = Calendar(identifier: .gregorian)
        calendar.timeZone = try #require(TimeZone(identifier: "Europe/Rome"))
        var first: [Int: Int] = [:]
        for event in events { first[event.item] = min(event.time, first[event.item] ?? .max) }
        let columns = try ["hour_sin", "hour_cos", "day_sin", "day_cos", "age"].map {
            try numbers($0, dataset).map { Double($0) }
        }
        for (place, event) in rows(dataset).enumerated() {
            let date = Date(timeIntervalSince1970: Double(event.time))
            let parts = calendar.dateComponents([.hour, .minute, .second, .weekday], from: date)
            let seconds = (parts.hour ?? 0) * 3600 + (parts.minute ?? 0) * 60 + (parts.second ?? 0)
            let hour = 2 * Double.pi * Double(seconds) / 86_400
            // Foundation's Sunday is 1.
            let day = 2 * Double.pi * Double(((parts.weekday ?? 0) + 5) % 7) / 7
            let age = Double(event.time - (first[event.item] ?? 0)) / 86_400
            let wanted = [sin(hour), cos(hour), sin(day), cos(day), age]
            for (column, value) in zip(columns, wanted) {
                #expect(abs(column[place] - value) < 1e-4)
            }
        }
    }

    // MARK: over groups

    @Test(arguments: Feature.Statistic.allCases)
    func `statistics are over the training events of an item or user`(
        _ statistic: Feature.Statistic
    ) throws {
        let plain = Feature.Scaling(fill: .value(-1))
        let dataset = try build([
            Feature("of-item", of: .items, .statistic(statistic, column: "price", plain)),
            Feature("of-user", of: .users, .statistic(statistic, column: "price", plain)),
        ])
        func expected(_ events: [Event]) -> Double {
            let known = events.compactMap(\.price)
            if statistic == .count { return Double(events.count) }
            guard !known.isEmpty else { return -1 }
            let mean = known.reduce(0, +) / Double(known.count)
            return switch statistic {
            case .count: 0
            case .sum: known.reduce(0, +)
            case .mean: mean
            case .std:
                (known.reduce(0) { $0 + ($1 - mean) * ($1 - mean) } / Double(known.count))
                    .squareRoot()
            case .min: known.min() ?? 0
            case .max: known.max() ?? 0
            }
        }
        for (index, value) in try numbers("of-item", dataset).enumerated() {
            let own = train.filter { $0.item == item(dataset, index) }
            #expect(abs(Double(value) - expected(own)) < 1e-2)
        }
        for (index, value) in try numbers("of-user", dataset).enumerated() {
            let own = train.filter { "u\($0.user)" == dataset.users[index] }
            #expect(abs(Double(value) - expected(own)) < 1e-2)
        }
    }

    @Test func `target encoding leaves an event's own fold out, and is smoothed`() throws {
        let settings = Feature.TargetEncoding(
            column: "price",
            by: "device",
            folds: 4,
            smoothing: 10
        )
        let dataset = try build([
            Feature("device", of: .events, .category(.init(column: "device"))),
            Feature("worth", of: .events, .target(settings)),
        ])
        let rows = rows(dataset)
        let known = train.compactMap(\.price)
        let mean = known.reduce(0, +) / Double(known.count)
        func fold(_ event: Int) -> Int {
            var generator = SeededGenerator(seed: settings.seed, stream: event)
            return generator.index(below: settings.folds)
        }
        let worth = try numbers("worth", dataset)
        for (place, event) in rows.enumerated() where place % 7 == 0 {
            let others = rows.enumerated().filter { other, row in
                !isTest(row) && row.device == event.device
                    && (isTest(event) || fold(other) != fold(place))
            }.compactMap(\.element.price)
            let wanted = (others.reduce(0, +) + 10 * mean) / Double(others.count + 10)
            #expect(abs(Double(worth[place]) - wanted) < 1e-3)
        }
        #expect(Set((0..<100).map(fold)).count == 4)
    }

    // MARK: leaks

    @Test func `nothing that is fitted has seen a later row`() throws {
        let features = [
            Feature("device", of: .events, .category(.init(column: "device"))),
            Feature("paid", of: .events, .number(column: "price", .init(scale: .standard))),
            Feature("least", of: .events, .number(column: "price", .init(scale: .minMax))),
            Feature("mid", of: .events, .number(column: "price", .init(fill: .median))),
            Feature("age", of: .events, .age(.init(scale: .standard))),
            Feature("by-item", of: .items, .statistic(.mean, column: "price", .init())),
            Feature("by-user", of: .users, .statistic(.sum, column: "price", .init())),
            Feature(
                "worth",
                of: .events,
                .target(.init(column: "price", by: "device"))
            ),
            Feature("brand", of: .items, .category(.init(column: "brand"))),
            Feature("price", of: .items, .number(column: "price", .init(scale: .standard))),
        ]
        let honest = try build(features)
        let changed = try build(features) { event in
            event.price = 1e6
            event.device = "toaster"
        }
        #expect(honest.schema == changed.schema)
        #expect(try honest.dictionary("device") == changed.dictionary("device"))
        let isTrain = honest.eventParts.map { $0 == Part.train.rawValue }
        #expect(isTrain.contains(false) && isTrain.contains(true))
        for column in honest.schema.columns where column.entity == .events {
            let (a, b) = (try honest.values(of: column), try changed.values(of: column))
            switch (a, b) {
            case (.codes(let a), .codes(let b)):
                for (event, isTrain) in isTrain.enumerated() where isTrain {
                    #expect(a[event] == b[event])
                }
            case (.numbers(let a), .numbers(let b)):
                for (event, isTrain) in isTrain.enumerated() where isTrain {
                    #expect(a[event] == b[event])
                }
            default: Issue.record("\(column.name) is of two kinds")
            }
        }
        for name in ["by-item", "by-user"] {
            #expect(try numbers(name, honest) == numbers(name, changed))
        }
    }
}
