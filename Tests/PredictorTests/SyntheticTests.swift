// SPDX-License-Identifier: Apache-2.0
import Foundation
import Tables
import TestSupport
import Testing

@testable import Predictor

struct SyntheticTests {
    private func rows(_ path: String) throws -> [[Substring]] {
        try String(contentsOfFile: path, encoding: .utf8).split(separator: "\n").dropFirst().map {
            $0.split(separator: ",", omittingEmptySubsequences: false)
        }
    }

    @Test func `the best possible result on the tutorial's sessions is the one worked out before`()
    {
        let optimum = SessionData.optimum()
        #expect(abs(optimum.loss - 4.4163) < 1e-4)
        #expect(abs(optimum.recall20 - 0.5257) < 1e-4 && abs(optimum.ndcg20 - 0.1970) < 1e-4)
        #expect(abs(optimum.recall40 - 0.7623) < 1e-4 && abs(optimum.ndcg40 - 0.2455) < 1e-4)
        #expect(optimum.best.prefix(10) == [7, 6, 8, 9, 5, 10, 11, 4, 12, 13])
    }

    @Test func `the tutorial's sessions are as many and as long as there`() throws {
        let folder = try TemporaryFolder()
        try SessionData.write(to: folder.path, rows: SessionData.rows, seed: 1)
        let rows = try rows("\(folder.path)/events.csv")
        #expect(rows.count == 100_000)
        let sessions = Dictionary(grouping: rows) { $0[0] }
        // 20,000 (1 - exp(-5)) sessions, of which 20,000 · 5 exp(-5) have one event.
        #expect(abs(sessions.count - 19_865) < 60)
        #expect(abs(sessions.count { $0.value.count >= 2 } - 19_191) < 120)
        #expect(
            sessions.values.allSatisfy { Set($0.map { (Int($0[3]) ?? 0) / 86_400 }).count == 1 }
        )
        let items = rows.compactMap { Int($0[1]) }
        let best = Set(SessionData.optimum().best.prefix(20))
        // Four standard errors.
        #expect(abs(Double(items.count { best.contains($0) }) / 100_000 - 0.5257) < 0.0064)
        #expect(Set(rows.map { $0[2] }).isSubset(of: Set((1...334).map { "\($0)"[...] })))
        let days = Dictionary(grouping: rows) { (Int($0[3]) ?? 0) / 86_400 }
        #expect(days.count == 9)
    }

    @Test func `the same size and seed give the same bytes, another seed others`() throws {
        let size = Shop.Size(events: 3000, users: 100, items: 200, days: 30)
        let folders = try [1, 1, 2].map { seed in
            let folder = try TemporaryFolder()
            try Shop.write(to: folder.path, size, seed: seed)
            return folder
        }
        for name in ["events.csv", "users.csv", "items.csv", "manifest.json", "pipeline.yaml"] {
            let texts = try folders.map {
                try String(contentsOfFile: "\($0.path)/\(name)", encoding: .utf8)
            }
            #expect(texts[0] == texts[1])
            #expect((texts[0] != texts[2]) == (name != "pipeline.yaml"))
        }
    }

    @Test func `a shop has tastes, favourites and an order`() throws {
        let folder = try TemporaryFolder()
        let size = Shop.Size(events: 60_000, users: 500, items: 400, days: 30)
        try Shop.write(to: folder.path, size, seed: 1)
        let events = try rows("\(folder.path)/events.csv")
        let items = try rows("\(folder.path)/items.csv")
        let users = try rows("\(folder.path)/users.csv")
        #expect(events.count == size.events && items.count == 400 && users.count == 500)
        let views = events.filter { $0[3] == "view" }
        func share(_ part: Int, of whole: Int) -> Double { Double(part) / Double(whole) }
        #expect(abs(share(events.count { $0[3] == "cart" }, of: views.count) - 1.0 / 7) < 0.01)
        #expect(abs(share(events.count { $0[3] == "buy" }, of: views.count) - 1.0 / 21) < 0.01)

        // A long tail: the tenth of the items that is seen most has more than a third of the views.
        let counts = Dictionary(grouping: views) { $0[2] }.mapValues(\.count)
        let top = counts.values.sorted(by: >).prefix(40).reduce(0, +)
        #expect(share(top, of: views.count) > 0.33)

        // An order: what most often comes after an item of many views does so far oftener than
        // it comes at all.
        var after: [Substring: [Substring: Int]] = [:]
        for (a, b) in zip(views, views.dropFirst()) where a[1] == b[1] {
            after[a[2], default: [:]][b[2], default: 0] += 1
        }
        let popular = counts.sorted { ($1.value, $0.key) < ($0.value, $1.key) }.prefix(20).map(
            \.key
        )
        for item in popular {
            let next = after[item] ?? [:]
            let total = next.values.reduce(0, +)
            guard let (companion, times) = next.max(by: { $0.value < $1.value }) else { continue }
            let chance = share(counts[companion] ?? 0, of: views.count)
            #expect(share(times, of: total) > 3 * chance)
        }

        // Tastes: two halves of a user's events agree on the category more than those of two
        // people do.
        let categoryOf = Dictionary(uniqueKeysWithValues: items.map { ($0[0], $0[2]) })
        var favourites: [[Substring?]] = []
        for (_, own) in Dictionary(grouping: views, by: { $0[0] }) where own.count > 150 {
            let halves = [own.prefix(own.count / 2), own.suffix(own.count / 2)]
            favourites.append(
                halves.map { half in
                    Dictionary(grouping: half) { categoryOf[$0[2]] }.max {
                        $0.value.count < $1.value.count
                    }?.key ?? nil
                }
            )
        }
        let own = favourites.count { $0[0] == $0[1] }
        let strangers = zip(favourites, favourites.dropFirst()).count { $0[0] == $1[1] }
        #expect(favourites.count > 30 && own > 2 * strangers)
    }
}
