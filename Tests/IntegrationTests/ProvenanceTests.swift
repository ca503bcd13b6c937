// SPDX-License-Identifier: Apache-2.0
import Foundation
import Postgres
import TestSupport
import Testing

@testable import Jobs

/// What was served: where it came from, whether it can be made again, and what it was worth.
@Suite(.serialized, .timeLimit(Effort.limit)) struct ProvenanceTests {
    private let checkerboard: CheckerboardFeed

    init() throws { checkerboard = try CheckerboardFeed() }

    @Test func `a list is traced back, and its release is made again`() async throws {
        try await checkerboard.with { larder, _ in
            let feed = TestServers.uniqueFeed()
            let worker = try await larder.start("worker")
            defer { worker.kill() }
            let file = try checkerboard.pipeline(feed: feed, model: CheckerboardFeed.two, k: 3)
            #expect(try await larder.run("run", file, "--follow").status == 0)
            let list = try await larder.run("why", feed, "u4")
            #expect(list.status == 0, "\(list)")
            #expect(list.output.contains("a list of its own, 3 items, release 1 of run 1"))
            #expect(list.output.contains("from 9 events, the newest:\n  1970-01-01T00:16:48Z"))
            #expect(list.output.contains(/i\d*[02468]: number 1\n\s+score\b/))
            #expect(!list.output.contains("answers otherwise"))
            let had = try await larder.run("why", feed, "u4", "i6")
            #expect(had.output.contains("i6: not in the list\n  because it was had before"))
            let far = try await larder.run("why", feed, "u4", "i19")
            #expect(
                far.output.contains(/i19: (number|not in the list\n  because it is number 1?\d,)/)
            )
            let nobody = try await larder.run("why", feed, "u999", "i1")
            #expect(nobody.output.contains("because no event that was read has u999"))
            let nothing = try await larder.run("why", feed, "u4", "i999")
            #expect(nothing.output.contains("because no event that was read has it"))
            let json = try await larder.run("why", feed, "u4", "--json").output
            #expect(json.contains("\"isAsServed\":true"), "\(json)")

            let again = try await larder.run("reproduce", feed, "1")
            #expect(again.status == 0, "\(again)")
            #expect(again.output.contains("the model is the same, bit for bit"))
            #expect(again.output.contains("200 of 200 lists are the same"))
            #expect(try await larder.run("reproduce", feed, "9").errors.contains("no release 9"))

            // A processor without these instructions rounds otherwise.
            var older = larder
            older.processor = "baseline"
            let other = try await older.run("reproduce", feed)
            #expect(other.status == 1, "\(other)")
            #expect(other.output.contains("trained again, the model is another"))
            #expect(other.output.contains("another processor, or another version"))
        }
    }

    @Test func `a session transformer is made again too`() async throws {
        try await checkerboard.with { larder, _ in
            let feed = TestServers.uniqueFeed()
            let worker = try await larder.start("worker")
            defer { worker.kill() }
            let file = try checkerboard.pipeline(
                feed: feed,
                model: "{ kind: session-transformer, width: 16, heads: 2, layers: 1, epochs: 2 }",
                k: 3
            )
            #expect(try await larder.run("run", file, "--follow").status == 0)
            let again = try await larder.run("reproduce", feed)
            #expect(again.status == 0, "\(again)")
            #expect(again.output.contains("the model is the same, bit for bit"))
        }
    }

    /// In place, the second run scores the lists before it writes over them.
    @Test(arguments: ["", "publish: { in-place: true }\n"])
    func `what was served is scored by what came later`(_ publish: String) async throws {
        try await checkerboard.with { larder, runs in
            let feed = TestServers.uniqueFeed()
            let worker = try await larder.start("worker")
            defer { worker.kill() }
            var file = try checkerboard.pipeline(feed: feed, model: CheckerboardFeed.good, k: 3)
            file = try checkerboard.folder.write(
                String(contentsOfFile: file, encoding: .utf8) + "\n" + publish,
                to: "pipeline.yaml"
            )
            let first = try await larder.run("run", file, "--follow")
            #expect(first.status == 0 && !first.output.contains("what was served"))
            func list(_ id: String) async throws -> [String] {
                let answer = try await larder.run("lookup", feed, id, "--json").output
                return answer.matches(of: /"id":"(i\d+)"/).map { String($0.1) }
            }
            // Tomorrow ten users take the second of their list, ten something else, and one who has
            // no list the first of the default list.
            let day = Int(Date.now.timeIntervalSince1970) / 86_400 + 1
            let byDefault = try await list("nobody")
            var events = Checkerboard.csv(users: 200)
            var defaultHits = 1
            for user in 0..<20 {
                let own = try await list("u\(user)")
                let item = user < 10 ? own[1] : "new\(user)"
                if byDefault.contains(item) { defaultHits += 1 }
                events += "u\(user),\(item),\(day * 86_400 + user)\n"
            }
            events += "stranger,\(byDefault[0]),\(day * 86_400)\n"
            // What was before the release does not count.
            events += "u0,\(try await list("u0")[0]),2000\n"
            _ = try checkerboard.folder.write(events, to: "events.csv")
            let second = try await larder.run("run", file, "--follow")
            #expect(second.status == 0, "\(second)")
            struct Hindsight: Decodable {
                struct Day: Decodable {
                    let release: Int
                    let queries: Int
                    let hitRate: Double
                    let defaultHitRate: Double
                }
                let days: [Day]
            }
            let text = try #require(try await runs.results(of: 2)["hindsight"])
            let days = try JSONDecoder().decode(Hindsight.self, from: Data(text.utf8)).days
            #expect(days.count == 1 && days[0].release == 1 && days[0].queries == 21)
            #expect(abs(days[0].hitRate - 11.0 / 21) < 1e-9, "\(days)")
            #expect(abs(days[0].defaultHitRate - Double(defaultHits) / 21) < 1e-9)
            #expect(second.output.contains("what was served, against what came since"))
            #expect(second.output.contains("0.5238"))
            let points = try await runs.metrics(of: 2)["hindsight/release-1-hit-rate@3"]
            #expect(points?.map(\.step) == [day * 86_400])
            let card = try await larder.run("runs", "card", "2", "-").output
            #expect(card.contains("<h2>Hindsight</h2>"))
        }
    }
}
