// SPDX-License-Identifier: Apache-2.0
import CacheWriter
import Foundation
import TestSupport
import Testing

/// Lists of the users that fit an item.
@Suite(.timeLimit(Effort.limit)) struct InverseTests {
    private let files: CommandFeed
    private let feed = TestServers.uniqueFeed()

    init() throws { files = try CommandFeed() }

    private func pipeline(
        model: String = "{ kind: als, factors: 8, alpha: 10 }",
        predict: String = "{ for: items, of: users, k: 5, shard: 7 }",
        more: String = "",
        publish: String = "{ expire: 1h }"
    ) throws -> String {
        try files.pipeline(
            feed: feed,
            predict: predict,
            model: model,
            more: more,
            publish: publish
        )
    }

    private struct Answer: Decodable {
        struct Entry: Decodable { let id: String }
        let entries: [Entry]
        let source: String
        var ids: [String] { entries.map(\.id) }
    }

    private func lookup(_ larder: Larder, _ id: String) async throws -> Answer {
        let result = try await larder.run("lookup", feed, id, "--json")
        try #require(result.status == 0, "\(result)")
        return try JSONDecoder().decode(Answer.self, from: Data(result.output.utf8))
    }

    /// What i4's list is once u26 is hidden.
    private func isWithout(_ larder: Larder) async throws -> Bool {
        let ids = try await lookup(larder, "i4").ids
        return ids.first == "u6" && !ids.contains("u26")
    }

    @Test func `an item's list has users of its colour who have not had it`() async throws {
        try await files.with { larder in
            let worker = try await larder.start("worker")
            defer { worker.kill() }
            let file = try pipeline(
                more: "check: [recall@5 >= 0.1, recall@5 > popularity - 1, coverage@5 >= 0]"
            )
            func run() async throws -> String {
                let result = try await larder.run("run", file, "--force", "all", "--follow")
                try #require(result.status == 0, "\(result)")
                return result.output
            }
            let first = try await run()
            #expect(first.contains("recall@5") && first.contains("20 lists"), "\(first)")
            // Of its colour u6 and u26 are those who have not had i4.
            let audience = try await lookup(larder, "i4")
            #expect(audience.source == "list")
            #expect(Set(audience.ids.prefix(2)) == ["u6", "u26"], "\(audience)")
            // Everybody, the most active first, for what nobody knows.
            let unknown = try await lookup(larder, "i999")
            #expect(unknown.source == "default" && unknown.ids.count == 5)
            #expect(unknown.ids.allSatisfy { $0.hasPrefix("u") })

            // Someone who does not want to be found is in no list, at once and in the next release.
            let hidden = try await larder.run("hide", feed, "u26")
            #expect(hidden.status == 0 && !hidden.errors.contains("no event"), "\(hidden)")
            let strange = try await larder.run("hide", feed, "i4")
            #expect(strange.errors.contains(#"has "i4""#), "\(strange)")
            #expect(try await isWithout(larder))
            let second = try await run()
            #expect(second.contains("live"), "\(second)")
            #expect(try await isWithout(larder))

            let why = try await larder.run("why", feed, "i4")
            #expect(why.status == 64 && why.errors.contains("lists of users"), "\(why)")
            let plan = try await larder.run("plan", file)
            #expect(plan.status == 0 && plan.output.contains("of 5 for items-of-users"), "\(plan)")
            let exported = try await larder.run(
                "export",
                feed,
                files.folder.path + "/lists.csv",
                "--format",
                "csv"
            )
            #expect(exported.status == 0, "\(exported)")
            let rows = try String(contentsOfFile: files.folder.path + "/lists.csv", encoding: .utf8)
            #expect(rows.contains("i4,u6,"))
        }
    }

    @Test func `a feed of other lists becomes one of users`() async throws {
        try await files.with { larder in
            let worker = try await larder.start("worker")
            defer { worker.kill() }
            func run(_ pipeline: String) async throws -> String {
                let result = try await larder.run("run", pipeline, "--force", "all", "--follow")
                try #require(result.status == 0, "\(result)")
                return result.output
            }
            let users = "{ for: users, k: 5 }"
            for (model, more) in [
                ("popularity", ""), ("item-knn", ""),
                ("als, factors: 8", "rank: { kind: rating-mlp, candidates: 10, epochs: 1 }"),
            ] {
                _ = try await run(
                    pipeline(model: "{ kind: \(model) }", predict: users, more: more)
                )
                // What is live is not compared with: it finds no users.
                #expect(try await run(pipeline()).contains("finds no users"))
            }
            #expect(try await lookup(larder, "i4").source == "list")
            // Of its own kind it is; and arms of a sweep are chosen by lists of users.
            let sweep = "{ kind: als, factors: 8, sweep: { alpha: [1, 10] }, select: recall@5 }"
            let chosen = try await run(
                files.pipeline(
                    feed: feed,
                    predict: "{ for: items, of: users, k: 5 }",
                    model: sweep,
                    more: "  split: { by: leave-last-one, validation: true }",
                    publish: "{ expire: 1h }"
                )
            )
            #expect(chosen.contains("live  ") && !chosen.contains("finds no users"), "\(chosen)")
        }
    }

    @Test(arguments: [
        "prod2vec, vector-size: 8, min-count: 1, epochs: 100, sample: 0",
        "two-tower, embedding: 8, towers: [16, 8], epochs: 20",
    ])
    func `each model that has vectors finds users`(_ model: String) async throws {
        try await files.with { larder in
            let worker = try await larder.start("worker")
            defer { worker.kill() }
            let file = try pipeline(model: "{ kind: \(model) }")
            let result = try await larder.run("run", file, "--follow")
            try #require(result.status == 0, "\(result)")
            let audience = try await lookup(larder, "i4")
            #expect(audience.source == "list" && audience.ids.allSatisfy { $0.hasPrefix("u") })
            #expect(!audience.ids.isEmpty)
        }
    }

    @Test(arguments: [
        (
            "{ kind: popularity }", "{ for: items, of: users }", "", "{}",
            "has no scores that compare users"
        ),
        (
            "{ kind: item-knn }", "{ for: items, of: users }", "", "{}",
            "has no scores that compare users"
        ),
        ("{ kind: als }", "{ for: users, of: users }", "", "{}", "say for: items"),
        ("{ kind: als }", "{ for: items, of: usres }", "", "{}", "of"),
        (
            "{ kind: als }", "{ for: items, of: users }", "check: { slices: [user-activity] }",
            "{}", "measured as a whole"
        ),
        (
            "{ kind: als }", "{ for: items, of: users }", "check: { baselines: [item-knn] }", "{}",
            "is not for lists of users"
        ),
        (
            "{ kind: als }", "{ for: items, of: users }", "rank: { kind: rating-mlp }", "{}",
            "rank: orders lists for users"
        ),
    ])
    func `what has no sense is refused before anything runs`(
        _ model: String,
        _ predict: String,
        _ more: String,
        _ publish: String,
        _ words: String
    ) async throws {
        try await files.with { larder in
            let file = try pipeline(model: model, predict: predict, more: more, publish: publish)
            let result = try await larder.run("run", file)
            #expect(result.status == 64 && result.errors.contains(words), "\(result)")
        }
    }
}
