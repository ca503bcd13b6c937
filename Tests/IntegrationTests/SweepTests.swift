// SPDX-License-Identifier: Apache-2.0
import Foundation
import Postgres
import TestSupport
import Testing

@testable import Jobs

/// Arms of a sweep, chosen among, stopped early, and not trained twice.
@Suite(.serialized, .timeLimit(Effort.limit)) struct SweepTests {
    private let checkerboard: CheckerboardFeed

    init() throws { checkerboard = try CheckerboardFeed() }

    @Test func `the better arm is chosen, measured, refitted and served`() async throws {
        try await checkerboard.with { larder, runs in
            let feed = TestServers.uniqueFeed()
            let workers = [try await larder.start("worker"), try await larder.start("worker")]
            defer { workers.forEach { $0.kill() } }
            let file = try checkerboard.pipeline(
                feed: feed,
                model: CheckerboardFeed.two,
                check: "[ndcg@5 > popularity]"
            )
            let run = try await larder.run("run", file, "--follow")
            #expect(run.status == 0, "\(run)")
            let select = try await checkerboard.result("select", 1, runs)
            #expect(select.sweep?.chosen == 2)
            #expect(select.sweep?.arms.map(\.fate) == ["not chosen", "chosen"])
            let costs = (select.sweep?.arms ?? []).compactMap(\.cost)
            #expect(costs.count == 2)
            #expect(costs.allSatisfy { $0.seconds > 0 && $0.cpuSeconds > 0 && $0.peakMiB > 1 })
            let found = try await larder.run("lookup", feed, "u4", "-k", "1")
            #expect(found.output.contains(/i\d*[02468]\b/), "\(found)")
            #expect(run.output.contains("arms by ndcg@5 on the validation part"))
            #expect(run.output.contains("ndcg@5 > popularity  holds"), "\(run.output)")

            let page = checkerboard.folder.path + "/card.html"
            #expect(try await larder.run("runs", "card", "1", page).status == 0)
            let card = try String(contentsOfFile: page, encoding: .utf8)
            for part in ["Steps", "Sweep", "Quality", "Gates", "Slices", "Behaviour", "Lineage"] {
                #expect(card.contains("<h2>\(part)</h2>"), "\(part)")
            }
            // Nothing comes from anywhere else.
            #expect(!card.contains("http") && !card.contains("<script") && !card.contains("src="))
            let written = try await larder.run("runs", "card", "1", "-")
            #expect(written.output == card)
            let nowhere = try await larder.run("runs", "card", "1", "/nowhere/card.html")
            #expect(nowhere.status != 0 && nowhere.errors.contains("cannot write /nowhere"))
        }
    }

    @Test func `what was trained and measured once is not done again`() async throws {
        try await checkerboard.with { larder, runs in
            let feed = TestServers.uniqueFeed()
            let worker = try await larder.start("worker")
            defer { worker.kill() }
            let file = try checkerboard.pipeline(feed: feed, model: CheckerboardFeed.two)
            #expect(try await larder.run("run", file, "--follow").status == 0)
            #expect(try await checkerboard.result("train 2/2", 1, runs).sameAsRun == nil)
            // One arm more, and the others in another order.
            let more = try checkerboard.pipeline(
                feed: feed,
                model: CheckerboardFeed.two.replacing("[1, 300]", with: "[300, 2, 1]")
            )
            let again = try await larder.run("run", more, "--follow")
            #expect(again.status == 0, "\(again)")
            let linked = try await checkerboard.result("train 1/3", 2, runs)
            #expect(linked.sameAsRun == 1 && linked.arm?.number == 1)
            #expect(linked.model == (try await checkerboard.result("train 2/2", 1, runs).model))
            #expect(try await checkerboard.result("train 2/3", 2, runs).sameAsRun == nil)
            #expect(try await checkerboard.result("train 3/3", 2, runs).sameAsRun == 1)
            #expect(try await checkerboard.result("refit", 2, runs).sameAsRun == 1)
            #expect(again.output.contains("as in run 1"))
            // Its model is gone: it is trained once more.
            let model = try await checkerboard.result("refit", 2, runs).model
            let path = "\(larder.home)/artifacts/model/\(model.prefix(2))/\(model)"
            try FileManager.default.removeItem(atPath: path)
            #expect(try await larder.run("run", more, "--follow").status == 0)
            #expect(try await checkerboard.result("refit", 3, runs).sameAsRun == nil)
            #expect(try await checkerboard.result("train 2/3", 3, runs).sameAsRun == 2)
        }
    }

    @Test func `arms that fail are told, and the best of the others is served`() async throws {
        try await checkerboard.with { larder, runs in
            let feed = TestServers.uniqueFeed()
            let worker = try await larder.start("worker")
            defer { worker.kill() }
            let failing = CheckerboardFeed.two.replacing(
                "epochs: [1, 300]",
                with: "min-count: [1000000, 1]"
            )
            let run = try await larder.run(
                "run",
                checkerboard.pipeline(feed: feed, model: failing),
                "--follow"
            )
            #expect(run.status == 0, "\(run)")
            let fates =
                try await checkerboard.result("select", 1, runs).sweep?.arms.map(\.fate) ?? []
            #expect(
                fates.last == "chosen" && fates.first?.hasPrefix("failed: ") == true,
                "\(fates)"
            )
            let none = failing.replacing("[1000000, 1]", with: "[1000000, 2000000]")
            let failed = try await larder.run(
                "run",
                checkerboard.pipeline(feed: feed, model: none),
                "--follow"
            )
            #expect(failed.status == 1)
            // In one line or two: they are ended one after the other.
            #expect(failed.output.contains(/not started: select\b/), "\(failed.output)")
            #expect(failed.output.contains(/\bcheck, refit, predict/), "\(failed.output)")
            // All must succeed: the good one's work is kept for the next try.
            let all = failing.replacing("sweep: {", with: "sweep: { join: all,")
            let strict = try await larder.run(
                "run",
                checkerboard.pipeline(feed: feed, model: all),
                "--follow"
            )
            #expect(strict.status == 1)
            _ = try await larder.run("runs", "retry", "3")
            try await larder.waitForRun(3)
            #expect(try await checkerboard.result("train 2/2", 3, runs).sameAsRun != nil)
        }
    }

    @Test func `halving stops most arms early, and the last go on where they were`() async throws {
        try await checkerboard.with { larder, runs in
            let feed = TestServers.uniqueFeed()
            let worker = try await larder.start("worker", "--slots", "2")
            defer { worker.kill() }
            let model =
                "{ kind: two-tower, embedding: 8, towers: [], epochs: 16, batch: 64, sweep: { halving: 2, "
                + "learning-rate: [0.00001, 0.01, 0.00002, 0.00003] } }"
            let run = try await larder.run(
                "run",
                checkerboard.pipeline(feed: feed, model: model, k: 10),
                "--follow"
            )
            #expect(run.status == 0, "\(run)")
            let select = try await checkerboard.result("select", 1, runs)
            let fates = select.sweep?.arms.map(\.fate) ?? []
            #expect(select.sweep?.chosen == 2 && fates[1] == "chosen")
            #expect(fates.count { $0 == "stopped after round 1" } == 2, "\(fates)")
            #expect(fates.count { $0 == "stopped after round 2" } == 1, "\(fates)")
            // As many steps as a training of its own, each once.
            let whole = model.replacing(
                "sweep: { halving: 2, learning-rate: [0.00001, 0.01, 0.00002, 0.00003] }",
                with: "learning-rate: 0.01"
            )
            let alone = try await larder.run(
                "run",
                checkerboard.pipeline(feed: feed, model: whole, k: 10),
                "--follow"
            )
            #expect(alone.status == 0, "\(alone)")
            #expect(
                try await checkerboard.result("train 2/4 round 3", 1, runs).model
                    == (try await checkerboard.result("train", 2, runs).model)
            )
        }
    }
}
