// SPDX-License-Identifier: Apache-2.0
import Foundation
import Tables
import TestSupport
import Testing

@testable import Predictor

/// Trainings that go from window to window, and on from the feed's last.
struct SessionWindowTests {
    /// Sessions of two items over five days, of which one is empty, written in no order.
    ///
    /// On the last day there are only new items.
    func days() throws -> Dataset {
        let folder = try TemporaryFolder()
        var rows: [String] = []
        for day in [3, 0, 5, 1] {
            for session in 0..<20 {
                let (first, second) = day == 5 ? (20, 21) : (session % 4, session % 4 + 4)
                let start = day * 86_400 + 1_600_041_600 + session * 60
                rows.append("d\(day)s\(session),i\(first),\(start)")
                rows.append("d\(day)s\(session),i\(second),\(start + 5)")
            }
        }
        let path = try folder.write(
            "user,item,time\n" + rows.reversed().joined(separator: "\n") + "\n",
            to: "events.csv"
        )
        return try Checkerboard.settings(path).built().dataset
    }

    var daily: SessionTransformerSettings {
        var settings = Sessions.small(.causal)
        settings.windows = 86_400
        settings.dropout = 0.1
        settings.training.epochs = 30
        return settings
    }

    @Test func `each window is measured by what was learned before it`() throws {
        let trained = try SessionTransformer.train(try days(), on: .all, daily)
        let reports = try #require(trained.outcome.windows)
        #expect(reports.map { ($0.start - 1_600_041_600) / 86_400 } == [0, 1, 3, 5])
        #expect(reports.map(\.sessions) == [20, 20, 20, 20])
        #expect(reports[0].found == nil)
        // What follows what is the same each day, and all is found; popularity knows eight items.
        for report in reports[1...2] {
            let found = try #require(report.found)
            #expect(found.recall == 1 && found.ndcg > 0.9 && (found.loss ?? 9) < 0.5)
            #expect(found.popularityRecall == 1 && found.popularityNDCG < 0.7)
        }
        // Nobody could know the last day's items, nor that they come.
        let last = try #require(reports[3].found)
        #expect(
            last.recall == 0 && last.ndcg == 0 && last.popularityRecall == 0 && last.loss == nil
        )
        // Now they are known.
        let items = trained.model.items.count
        #expect(items == 10)
    }

    @Test(arguments: [31, 90, 100])
    func `a training over windows goes on in the middle of one`(_ step: Int) throws {
        struct Stop: Error {}
        let dataset = try days()
        let whole = try SessionTransformer.train(dataset, on: .all, daily)
        let folder = try TemporaryFolder()
        #expect(throws: Stop.self) {
            _ = try SessionTransformer.train(
                dataset,
                on: .all,
                daily,
                progress: { progress in
                    guard progress.step == step else { return }
                    try progress.writeState(to: folder.path)
                    throw Stop()
                }
            )
        }
        var steps: [Int] = []
        let resumed = try SessionTransformer.train(
            dataset,
            on: .all,
            daily,
            from: folder.path,
            progress: { steps.append($0.step) }
        )
        // 20 sessions are two batches of 7: 60 steps a window.
        #expect(steps == Array(step + 1...240))
        #expect(whole.outcome == resumed.outcome)
        #expect(
            try Sessions.lists(whole.model, [[3], [1]])
                == Sessions.lists(resumed.model, [[3], [1]])
        )
    }

    @Test func `a later training goes on to the weights of one that never stopped`() throws {
        let folder = try TemporaryFolder()
        var rows = ["user,item,time,fold"]
        for day in 0..<4 {
            for session in 0..<20 {
                for place in 0..<3 {
                    let time = day * 86_400 + 1_600_041_600 + session * 60 + place
                    let item = (session + place * 4) % (day == 3 ? 14 : 9)
                    rows.append("d\(day)s\(session),i\(item),\(time),\(day < 2 ? "train" : "test")")
                }
            }
        }
        let path = try folder.write(rows.joined(separator: "\n") + "\n", to: "events.csv")
        let dataset = try Checkerboard.settings(
            path,
            split: .column("fold", validation: "validation", test: "test")
        ).built().dataset
        var settings = daily
        settings.training.epochs = 5
        let whole = try SessionTransformer.train(dataset, on: .all, settings)
        let early = try SessionTransformer.train(dataset, on: .forTraining, settings)
        try early.model.write(to: folder.path)
        let base = try #require(try SessionBase(from: folder.path))
        #expect(!base.hasSeen(beyond: .forTraining, of: dataset))
        let later = try SessionTransformer.train(dataset, on: .all, settings, after: base)
        let histories: [[Int32]] = [[3], [1, 2], [10]]
        #expect(
            try Sessions.lists(later.model, histories) == Sessions.lists(whole.model, histories)
        )
        #expect(later.outcome.windows == whole.outcome.windows?.suffix(2))
        #expect(later.outcome.windows?[0].found != nil)
        // What was learned from everything has seen what is kept back.
        try later.model.write(to: folder.path)
        let all = try #require(try SessionBase(from: folder.path))
        #expect(all.hasSeen(beyond: .forTraining, of: dataset))
        #expect(!all.hasSeen(beyond: .all, of: dataset))
        // And nothing is left to be learned.
        let again = try SessionTransformer.train(dataset, on: .all, settings, after: all)
        #expect(again.outcome.windows == [])
        #expect(
            try Sessions.lists(again.model, histories) == Sessions.lists(whole.model, histories)
        )
    }

    @Test func `a later dataset's items and categories are found by what they are called`() throws {
        func dataset(_ more: Int) throws -> Dataset {
            let folder = try TemporaryFolder()
            var (events, items) = ("user,item,time\n", "item,group\n")
            // Those that come later are of an old day, so that nothing is learned from them, and
            // make other items and another group the most frequent.
            for session in 0..<more { events += "x\(session),i9,5\nx\(session),new,6\n" }
            for session in 0..<20 {
                let start = 1_600_041_600 + session
                events +=
                    "s\(session),i\(session % 7),\(start)\ns\(session),i\(session % 7 + 1),\(start + 1)\n"
            }
            for item in (0..<10).reversed() { items += "i\(item),g\(item % 3)\n" }
            items += "new,fresh\n"
            return try DatasetSettings(
                source: TableSource(.csv, try folder.write(events, to: "events.csv")),
                columns: .init(user: "user", item: "item", time: "time"),
                items: EntityTable(
                    table: .init(.csv, try folder.write(items, to: "items.csv")),
                    id: "item"
                ),
                features: [Feature("group", of: .items, .category(.init(column: "group")))]
            ).built().dataset
        }
        let (old, new) = (try dataset(0), try dataset(50))
        #expect(old.items[0] != new.items[0])
        let folder = try TemporaryFolder()
        let model = try SessionTransformer.train(old, on: .all, daily).model
        try model.write(to: folder.path)
        let base = try #require(try SessionBase(from: folder.path))
        let later = try SessionTransformer.train(new, on: .all, daily, after: base).model
        func names(_ model: SessionModel, _ dataset: Dataset) throws -> [String] {
            let items = try ["i2", "i5"].map { Int32(try #require(dataset.items.index(of: $0))) }
            return try #require(try Sessions.lists(model, [items])[0]).items.map {
                dataset.items[Int($0)]
            }
        }
        #expect(try names(model, old) == names(later, new))
        // A model that was trained at once says nothing of windows.
        var settings = daily
        settings.windows = nil
        try SessionTransformer.train(old, on: .all, settings).model.write(to: folder.path)
        let none = try SessionBase(from: folder.path)
        #expect(none?.progress == nil)
    }

    @Test func `what has left the data is not offered, and other features are no start`() throws {
        func dataset(_ items: ClosedRange<Int>, _ features: [String]) throws -> Dataset {
            let folder = try TemporaryFolder()
            var events = "user,item,time,device,place\n"
            for session in 0..<20 {
                for place in 0..<2 {
                    let item = items.lowerBound + (session + place) % items.count
                    let time = 1_600_041_600 + items.lowerBound * 86_400 + session * 60 + place
                    events +=
                        "d\(items)s\(session),i\(item),\(time),d\(session % 2),p\(session % 3)\n"
                }
            }
            return try DatasetSettings(
                source: TableSource(.csv, try folder.write(events, to: "events.csv")),
                columns: .init(user: "user", item: "item", time: "time"),
                features: features.map { Feature($0, of: .events, .category(.init(column: $0))) }
            ).built().dataset
        }
        let folder = try TemporaryFolder()
        let old = try dataset(0...5, ["device", "place"])
        try SessionTransformer.train(old, on: .all, daily).model.write(to: folder.path)
        let base = try #require(try SessionBase(from: folder.path))
        let new = try dataset(3...8, ["device", "place"])
        #expect(base.reads(new.schema))
        let later = try SessionTransformer.train(new, on: .all, daily, after: base).model
        #expect(Set(later.items.map { new.items[Int($0)] }) == Set((3...8).map { "i\($0)" }))
        for features in [["place", "device"], ["device"], []] {
            #expect(!base.reads(try dataset(3...8, features).schema))
        }
    }

    @Test func `a model of another shape is no start`() throws {
        let dataset = try days()
        let folder = try TemporaryFolder()
        try SessionTransformer.train(dataset, on: .all, daily).model.write(to: folder.path)
        let base = try #require(try SessionBase(from: folder.path))
        var settings = daily
        settings.width = 32
        let wide = settings
        let error = #expect(throws: PredictorError.self) {
            _ = try SessionTransformer.train(dataset, on: .all, wide, after: base)
        }
        #expect(error?.description.contains("the weights items are [") == true)
    }
}
