// SPDX-License-Identifier: Apache-2.0
import Glibc
import Tables
import TestSupport
import Testing

@testable import Predictor

/// What is kept of events, against a plain twin that works on rows.
struct CleaningTests {
    private struct Row: Equatable {
        var user: String
        var item: String
        var time: Int
        var rating: Int
        var event: String
    }

    private let rows: [Row]
    private let folder: TemporaryFolder
    private let path: String

    init() throws {
        var generator = SeededGenerator(seed: 5)
        rows = (0..<4000).map { _ in
            // Squared, so that some users and items are frequent and many are rare.
            let user = generator.index(below: 30) * generator.index(below: 30)
            let item = generator.index(below: 25) * generator.index(below: 25)
            return Row(
                user: "u\(user)",
                item: "i\(item)",
                time: generator.index(below: 500) * 3600,
                rating: 1 + generator.index(below: 5),
                event: ["view", "cart", "buy"][generator.index(below: 3)]
            )
        }
        folder = try TemporaryFolder()
        path = try folder.write(
            "user,item,time,rating,event\n"
                + rows.map { "\($0.user),\($0.item),\($0.time),\($0.rating),\($0.event)\n" }
                .joined(),
            to: "events.csv"
        )
    }

    private func build(
        _ keep: Keep,
        sessions: DatasetSettings.Sessions = .init(),
        weights: Weights? = nil,
        split: Split = .leaveLastOne(validation: false),
        buffer: Int = DatasetBuilder.buffer
    ) throws -> (Dataset, ReadReport) {
        let (dataset, summary) = try DatasetSettings(
            source: TableSource(.csv, path),
            columns: .init(user: "user", item: "item", time: "time"),
            sessions: sessions,
            keep: keep,
            weights: weights,
            split: split
        ).built(buffer: buffer)
        return (dataset, summary.read)
    }

    /// Users in the order they came, each with items and times.
    private func events(_ dataset: Dataset) -> [String] {
        (0..<dataset.users.count).flatMap { user in
            dataset.events(ofUser: user).map { event in
                "\(dataset.users[user]) \(dataset.items[Int(dataset.eventItems[event])]) \(dataset.eventTimes[event])"
            }
        }
    }

    private func expected(_ kept: [Row]) -> [String] {
        var order: [String] = []
        var byUser: [String: [Row]] = [:]
        for row in rows where byUser[row.user] == nil {
            order.append(row.user)
            byUser[row.user] = []
        }
        for row in kept { byUser[row.user]?.append(row) }
        return order.flatMap { user in
            // A stable sort, written out.
            (byUser[user] ?? []).enumerated()
                .sorted { ($0.element.time, $0.offset) < ($1.element.time, $1.offset) }
                .map { "\(user) \($0.element.item) \($0.element.time)" }
        }
    }

    @Test(arguments: [DatasetBuilder.buffer, 96 * 50, 1])
    func `a positive expression, a window and everything else keep what they say`(_ buffer: Int)
        throws
    {
        let (from, to) = (100 * 3600, 400 * 3600)
        let (dataset, report) = try build(
            Keep(positive: Condition("rating >= 4"), from: from, to: to),
            buffer: buffer
        )
        let kept = rows.filter { $0.rating >= 4 && $0.time >= from && $0.time < to }
        #expect(events(dataset) == expected(kept))
        #expect(
            report.steps.map(\.what) == ["unusable rows", "positive: rating >= 4", "from, to"]
        )
        #expect(report.steps[1].rowsOut == rows.count { $0.rating >= 4 })
        #expect(report.steps[2].rowsOut == kept.count && report.steps[0].rowsIn == rows.count)
    }

    @Test(arguments: [
        "event in buy, 'cart'", "event != view", "rating in 1, 5", "rating == 3", "rating < 2",
        "rating != 2",
    ])
    func `conditions hold as they read`(_ text: String) throws {
        let (dataset, _) = try build(Keep(positive: Condition(text)))
        let test: (Row) -> Bool =
            switch text {
            case "event in buy, 'cart'", "event != view": { $0.event != "view" }
            case "rating in 1, 5": { $0.rating == 1 || $0.rating == 5 }
            case "rating == 3": { $0.rating == 3 }
            case "rating < 2": { $0.rating < 2 }
            default: { $0.rating != 2 }
            }
        #expect(events(dataset) == expected(rows.filter(test)))
    }

    @Test(arguments: [DatasetBuilder.buffer, 96 * 50])
    func `the last days are kept, and of duplicates one`(_ buffer: Int) throws {
        let last = 200 * 3600
        let newest = rows.map(\.time).max() ?? 0
        let recent = rows.filter { $0.time >= newest - last }
        for duplicates in [Keep.Duplicates.first, .last] {
            let (dataset, report) = try build(
                Keep(last: last, duplicates: duplicates),
                buffer: buffer
            )
            var byPair: [String: (offset: Int, row: Row)] = [:]
            for (offset, row) in recent.enumerated() {
                let key = row.user + row.item
                guard let known = byPair[key] else {
                    byPair[key] = (offset, row)
                    continue
                }
                let isLater = (row.time, offset) >= (known.row.time, known.offset)
                if isLater == (duplicates == .last) { byPair[key] = (offset, row) }
            }
            let kept = byPair.values.sorted { $0.offset < $1.offset }.map(\.row)
            #expect(events(dataset) == expected(kept))
            #expect(report.steps.map(\.rowsOut) == [rows.count, recent.count, kept.count])
        }
    }

    @Test(arguments: [DatasetBuilder.buffer, 96 * 50])
    func `rare users and items go until none is rare`(_ buffer: Int) throws {
        let (dataset, report) = try build(
            Keep(minUserEvents: 8, minItemEvents: 12),
            buffer: buffer
        )
        var kept = rows
        while true {
            var users: [String: Int] = [:]
            var items: [String: Int] = [:]
            for row in kept {
                users[row.user, default: 0] += 1
                items[row.item, default: 0] += 1
            }
            let next = kept.filter {
                users[$0.user, default: 0] >= 8 && items[$0.item, default: 0] >= 12
            }
            if next.count == kept.count { break }
            kept = next
        }
        #expect(kept.count > 100 && kept.count < rows.count)
        #expect(events(dataset) == expected(kept))
        #expect(Set((0..<dataset.items.count).map { dataset.items[$0] }) == Set(kept.map(\.item)))
        #expect(report.steps.last?.rowsOut == kept.count)
    }

    @Test func `what leaves nothing is an error that says what went where`() {
        let error = #expect(throws: PredictorError.self) {
            _ = try build(Keep(minUserEvents: 10_000))
        }
        #expect(error?.description.contains("min-user-events 10000") == true)
        #expect(error?.description.contains("4000 → 0 rows") == true)
        #expect(throws: PredictorError.self) {
            _ = try build(Keep(positive: Condition("rating > 5")))
        }
    }

    @Test func `a sample keeps whole users, the same ones each time`() throws {
        let (sample, _) = try build(Keep(sample: 0.3, seed: 1))
        let (again, _) = try build(Keep(sample: 0.3, seed: 1))
        let (other, _) = try build(Keep(sample: 0.3, seed: 2))
        let users = Set((0..<sample.users.count).map { sample.users[$0] })
        #expect(events(sample) == expected(rows.filter { users.contains($0.user) }))
        #expect(events(again) == events(sample))
        #expect(events(other) != events(sample))
        let all = Set(rows.map(\.user)).count
        #expect((all / 5...all * 2 / 5).contains(users.count))
    }

    @Test func `a pause ends a session, and not before`() throws {
        let gap = 20 * 3600
        let (dataset, _) = try build(Keep(), sessions: .init(by: .gap(gap)))
        var long = 0
        for user in 0..<dataset.users.count {
            let range = dataset.events(ofUser: user)
            var starts: Set<Int> = [range.lowerBound]
            for event in range.dropFirst()
            where dataset.eventTimes[event] - dataset.eventTimes[event - 1] > Int64(gap) {
                starts.insert(event)
            }
            let sequences = Int(dataset.userSequences[user])..<Int(dataset.userSequences[user + 1])
            #expect(Set(sequences.map { dataset.events(ofSequence: $0).lowerBound }) == starts)
            long = max(long, sequences.map { dataset.events(ofSequence: $0).count }.max() ?? 0)
        }
        #expect(long > 1 && dataset.sequenceCount > dataset.users.count)
    }

    @Test func `short sequences are left out, and long ones keep their end`() throws {
        let (whole, _) = try build(Keep())
        let (cut, report) = try build(Keep(), sessions: .init(minEvents: 5, last: 8))
        var wanted: [String] = []
        for user in 0..<whole.users.count where whole.events(ofUser: user).count >= 5 {
            for event in whole.events(ofUser: user).suffix(8) {
                let item = whole.items[Int(whole.eventItems[event])]
                wanted.append("\(whole.users[user]) \(item) \(whole.eventTimes[event])")
            }
        }
        #expect(events(cut) == wanted)
        #expect(
            report.steps.map(\.what).suffix(2) == ["sessions: min-events 5", "sessions: last 8"]
        )
        #expect(report.steps.last?.rowsOut == wanted.count)
        #expect(cut.users.count < whole.users.count && wanted.count < rows.count * 3 / 4)
    }

    @Test func `types weigh what they are worth, and fade`() throws {
        let day = 86_400
        let weights = Weights(column: "event", values: ["cart": 3, "buy": 5], halfLife: 2 * day)
        let (dataset, report) = try build(
            Keep(),
            weights: weights,
            split: .time(validation: 0, test: 5 * day)
        )
        #expect(report.steps.last?.rowsOut == rows.count { $0.event != "view" })
        let column = try #require(dataset.eventWeights)
        // The newest training event counts whole: weights know nothing of the test part.
        let newest = try #require(
            dataset.eventTimes.indices.filter { dataset.eventParts[$0] == 0 }
                .map { dataset.eventTimes[$0] }.max()
        )
        for event in dataset.eventTimes.indices {
            let age = Double(newest - dataset.eventTimes[event]) / Double(2 * day)
            let worth = Double(column[event]) * exp2(age)
            #expect(abs(worth - 3) < 1e-4 || abs(worth - 5) < 1e-4)
        }
        let sums = dataset.itemWeights(in: [.train])
        #expect(sums.reduce(0, +) > 0)
    }

    /// Nothing that is made for training may change when only later rows do.
    @Test func `what is learned from training rows does not see the others`() throws {
        let text = folder.bytes(of: "events.csv")
        let cut = 400 * 3600
        var changed = "user,item,time,rating,event\n"
        for row in rows {
            // Later rows are of one item, which would become the most frequent.
            let item = row.time > cut ? "late" : row.item
            changed += "\(row.user),\(item),\(row.time),\(row.rating),\(row.event)\n"
        }
        let test = (rows.map(\.time).max() ?? 0) - cut
        func learned() throws -> (order: [String], weights: [Float]) {
            let (dataset, _) = try build(
                Keep(),
                weights: Weights(
                    column: "event",
                    values: ["view": 1, "cart": 2, "buy": 4],
                    halfLife: 9_000
                ),
                split: .time(validation: 0, test: test)
            )
            let counts = dataset.itemCounts(in: [.train])
            let order = (0..<dataset.items.count).filter { counts[$0] > 0 }.map {
                dataset.items[$0]
            }
            let weights = dataset.eventTimes.indices.filter { dataset.eventParts[$0] == 0 }
                .compactMap { dataset.eventWeights?[$0] }
            return (order, weights)
        }
        let before = try learned()
        _ = try folder.write(changed, to: "events.csv")
        let after = try learned()
        _ = try folder.write(text, to: "events.csv")
        #expect(before.order == after.order && before.order.count > 50)
        #expect(before.weights == after.weights)
    }

    @Test func `splits keep back what they say`() throws {
        let (both, _) = try build(Keep(), split: .leaveLastOne(validation: true))
        for user in 0..<both.users.count {
            let parts = both.events(ofUser: user).map { both.eventParts[$0] }
            let expected: [UInt8] =
                switch parts.count {
                case 1: [0]
                case 2: [0, 2]
                default: Array(repeating: 0, count: parts.count - 2) + [1, 2]
                }
            #expect(parts == expected)
        }
        let hour = 3600
        let (timed, _) = try build(Keep(), split: .time(validation: 50 * hour, test: 30 * hour))
        let newest = timed.eventTimes.max() ?? 0
        for event in timed.eventTimes.indices {
            let age = newest - timed.eventTimes[event]
            let part: Part = age < 30 * hour ? .test : age < 80 * hour ? .validation : .train
            #expect(timed.eventParts[event] == part.rawValue)
        }
        let (byUser, _) = try build(Keep(), split: .users(validation: 0.1, test: 0.2, seed: 3))
        var counts = [0, 0, 0]
        for user in 0..<byUser.users.count {
            let parts = Set(byUser.events(ofUser: user).map { byUser.eventParts[$0] })
            #expect(parts.count == 1)
            counts[Int(parts.first ?? 0)] += 1
        }
        #expect(abs(counts[2] - byUser.users.count / 5) <= 1)
        #expect(abs(counts[1] - byUser.users.count / 10) <= 1)
        let (given, _) = try build(
            Keep(),
            split: .column("event", validation: "cart", test: "buy")
        )
        #expect(given.eventParts.count { $0 == 2 } == rows.count { $0.event == "buy" })
        #expect(given.eventParts.count { $0 == 1 } == rows.count { $0.event == "cart" })
    }
}
