// SPDX-License-Identifier: Apache-2.0
import CacheWriter
import Foundation
import Postgres
import TestSupport
import Testing

@testable import Jobs

/// Gates, and what becomes of a run that one refuses.
@Suite(.serialized, .timeLimit(Effort.limit)) struct GatedRunTests {
    private let checkerboard: CheckerboardFeed

    init() throws { checkerboard = try CheckerboardFeed() }

    @Test func `a worse model is refused, and readers keep the old lists`() async throws {
        try await checkerboard.with { larder, runs in
            let feed = TestServers.uniqueFeed()
            let worker = try await larder.start("worker")
            defer { worker.kill() }
            let gates = "[ndcg@5 >= live - 0.01, coverage@5 >= 0.01]"
            let first = try await larder.run(
                "run",
                checkerboard.pipeline(feed: feed, model: CheckerboardFeed.good, check: gates),
                "--follow"
            )
            #expect(first.status == 0 && first.output.contains("there is no live release yet"))
            let before = try await larder.run("lookup", feed, "u4")
            #expect(try await larder.run("runs", "card", "7").errors.contains("there is no run 7"))
            let worse = try checkerboard.pipeline(
                feed: feed,
                model: "{ kind: popularity }",
                check: gates
            )
            let second = try await larder.run("run", worse, "--follow")
            #expect(second.status == 1)
            #expect(second.output.contains("1 of 2 gates refuse it"), "\(second.output)")
            #expect(second.output.contains(/ndcg@5 >= live - 0.01: .*fails by 0\.\d+/))
            #expect(try await larder.run("lookup", feed, "u4").output == before.output)
            let compared = try await larder.run("runs", "compare", "1", "2")
            #expect(compared.output.contains(/ndcg@5 .*\+?-0\.\d+ \[-/), "\(compared)")
            #expect(compared.output.contains("model prod2vec epochs"))

            let card = try await larder.run("runs", "card", "2", "-").output
            #expect(card.contains("<h3>gate failed</h3>") && card.contains("Not started: refit"))
            #expect(card.contains("<strong class=\"bad\">refuses</strong>"))

            // Somebody knows better.
            #expect(try await larder.run("runs", "force", "2", "--reason", "").status == 64)
            let forced = try await larder.run("runs", "force", "2", "--reason", "a test")
            #expect(forced.status == 0, "\(forced)")
            try await larder.waitForRun(2)
            let shown = try await larder.run("runs", "show", "2").output
            #expect(shown.contains("forced: a test") && shown.contains("refuses"), "\(shown)")
            #expect(try await larder.run("lookup", feed, "u4").output != before.output)
            // The model that is live now is the worse one.
            let third = try await larder.run("run", worse, "--follow")
            #expect(third.status == 0, "\(third)")
            let needless = try await larder.run("runs", "force", "3", "--reason", "x")
            #expect(needless.errors.contains("no gate has refused run 3"), "\(needless)")
        }
    }

    @Test
    func `a live release whose model is gone holds no gate, and one of another split neither`()
        async throws
    {
        try await checkerboard.with { larder, runs in
            let feed = TestServers.uniqueFeed()
            let worker = try await larder.start("worker")
            defer { worker.kill() }
            let gates = "[ndcg@5 >= live - 1]"
            let file = try checkerboard.pipeline(
                feed: feed,
                model: CheckerboardFeed.good,
                check: gates
            )
            #expect(try await larder.run("run", file, "--follow").status == 0)
            let text = try String(contentsOfFile: file, encoding: .utf8)
            // What the live model was trained on is now kept back.
            let shuffled = text.replacing(
                "split: { by: leave-last-one, validation: true }",
                with: "split: { by: users, test: 0.5 }"
            )
            try shuffled.write(toFile: file, atomically: true, encoding: .utf8)
            let leaky = try await larder.run("run", file, "--follow")
            #expect(leaky.status == 1)
            #expect(
                leaky.output.contains(/is not compared with: \d\d % of what is kept back now/),
                "\(leaky.output)"
            )
            try text.write(toFile: file, atomically: true, encoding: .utf8)
            let model = try await checkerboard.result("train", 1, runs).model
            let path = "\(larder.home)/artifacts/model/\(model.prefix(2))/\(model)"
            try FileManager.default.moveItem(
                atPath: path,
                toPath: checkerboard.folder.path + "/model"
            )
            // The same training would put it back.
            let other = text.replacing("epochs: 300", with: "epochs: 200")
            try other.write(toFile: file, atomically: true, encoding: .utf8)
            let gone = try await larder.run("run", file, "--follow")
            #expect(gone.status == 1)
            #expect(gone.output.contains("release 1, which is live, cannot be measured"))
            try FileManager.default.moveItem(
                atPath: checkerboard.folder.path + "/model",
                toPath: path
            )
            _ = try await larder.run("runs", "retry", "3")
            try await larder.waitForRun(3)
            // The check stands as it was; another run looks again.
            let again = try await larder.run("run", file, "--follow")
            #expect(again.status == 0, "\(again)")
        }
    }

    @Test func `lists that differ too much, or hold what they must not, stay unpublished`()
        async throws
    {
        try await checkerboard.with { larder, runs in
            let feed = TestServers.uniqueFeed()
            let worker = try await larder.start("worker")
            defer { worker.kill() }
            let overlap = """
                ['overlap-with-live@5 in [0.9, 1]', share-of-changed-lists <= 0.5, share-of-short-lists <= 0]
                """
            let first = try checkerboard.pipeline(
                feed: feed,
                model: CheckerboardFeed.good,
                check: overlap
            )
            #expect(try await larder.run("run", first, "--follow").status == 0)
            let other = try checkerboard.pipeline(
                feed: feed,
                model: "{ kind: popularity }",
                check: overlap
            )
            let refused = try await larder.run("run", other, "--follow")
            #expect(refused.status == 1)
            #expect(
                refused.output.contains(
                    /overlap-with-live@5 in \[0.9, 1\]: 0\.\d+, fails by .* lists/
                ),
                "\(refused.output)"
            )
            #expect(
                refused.output.contains(/share-of-changed-lists <= 0.5: [0-9.]+, fails by .* lists/)
            )
            #expect(try await larder.run("lookup", feed, "u4").output.contains("release 1"))
            // The same lists once more.
            let same = try checkerboard.pipeline(
                feed: feed,
                model: CheckerboardFeed.good,
                check: overlap
            )
            let again = try await larder.run("run", same, "--follow")
            #expect(again.status == 0, "\(again)")
            #expect(
                again.output.contains("0 % of 200 lists are not those of release 1, with 0.0 new")
            )

            // And without a gate, what changes is told.
            func lists() async throws -> [[String]] {
                let reader = FeedReader(RedisClient(try TestServers.redis))
                return try await reader.lookup(
                    (0..<200).map { FeedReader.Question(feed: feed, id: "u\($0)") }
                ).map { try $0.get()?.entries.map(\.id) ?? [] }
            }
            let before = try await lists()
            let ungated = try checkerboard.pipeline(
                feed: feed,
                model: "{ kind: popularity }",
                check: "[]"
            )
            #expect(try await larder.run("run", ungated, "--follow").status == 0)
            let pairs = zip(try await lists(), before)
            let changed = pairs.count { $0 != $1 } * 100
            let new = pairs.map { Set($0).subtracting($1).count }.reduce(0, +)
            let told = try await larder.run("releases", feed).output
            #expect(changed > 0 && new > 0)
            #expect(
                told.contains(
                    String(format: "%.0f %%, %.1f items", Double(changed) / 200, Double(new) / 200)
                ),
                "\(told)"
            )
            #expect(try await larder.run("rollback", feed).status == 0)

            // What somebody had is not in the list.
            _ = try checkerboard.folder.write(
                "id,item,rule\nu4,i0,must-not-recommend\nu4,i0,must-recommend\nnobody,i1,must-not-recommend\n",
                to: "cases.csv"
            )
            let cases = try checkerboard.pipeline(
                feed: feed,
                model: CheckerboardFeed.good,
                check: "{ cases: cases.csv }"
            )
            let held = try await larder.run("run", cases, "--follow")
            #expect(held.status == 1)
            #expect(held.output.contains("u4 must-recommend i0: its list does not have it"))
            #expect(!held.output.contains("u4 must-not-recommend i0:"))
            _ = try checkerboard.folder.write("id,item,rule\nu4,i3,must\n", to: "cases.csv")
            let wrong = try await larder.run("run", cases, "--follow")
            #expect(wrong.errors.contains("the rule \"must\" is not one of"), "\(wrong.errors)")
        }
    }
}
