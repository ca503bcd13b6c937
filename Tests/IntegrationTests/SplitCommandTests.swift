// SPDX-License-Identifier: Apache-2.0
import CacheWriter
import Foundation
import TestSupport
import Testing

@Suite(.timeLimit(Effort.limit)) struct SplitCommandTests {
    private let files: CommandFeed

    init() throws { files = try CommandFeed() }

    private struct Answer: Decodable {
        let release: Int
        let arm: String?
    }

    private func lookup(_ feed: String, _ id: String, _ larder: Larder) async throws -> Answer {
        let found = try await larder.run("lookup", feed, id, "--json")
        return try JSONDecoder().decode(Answer.self, from: Data(found.output.utf8))
    }

    @Test func `a split sends ids to their arms, through a release, to its end`() async throws {
        try await files.with { larder in
            let feed = TestServers.uniqueFeed()
            let worker = try await larder.start("worker")
            defer { worker.kill() }
            let file = try files.pipeline(feed: feed, model: "{ kind: popularity }")
            for _ in 1...2 { #expect(try await larder.run("run", file, "--follow").status == 0) }

            let started = try await larder.run("split", feed, "A=1:1", "B=live:1", "--salt", "s")
            #expect(started.output.contains("  A  50 %  release 1\n  B  50 %  release 2\n"))
            #expect(started.errors.contains("the lists of release 1 expire in 0 h"))
            let split = try #require(Split("s A=1:1 B=live:1"))
            let ids = (0..<12).map { "u\($0)" }
            #expect(Set(ids.map { split.arm(of: $0).name }) == ["A", "B"])
            func check(live: Int) async throws {
                for id in ids {
                    let found = try await lookup(feed, id, larder)
                    let arm = split.arm(of: id)
                    #expect(found.arm == arm.name && found.release == arm.release ?? live)
                }
            }
            try await check(live: 2)

            // Two releases more: 1 is beyond what is kept, and stays as long as it has readers.
            for _ in 3...4 { #expect(try await larder.run("run", file, "--follow").status == 0) }
            try await check(live: 4)
            let releases = try await larder.run("releases", feed).output
            #expect(releases.contains(/retired +A 50 %/) && releases.contains(/live +B 50 %/))
            #expect(releases.contains("collected"))
            #expect(try await larder.run("rollback", feed).errors.contains("the feed is split"))

            // The salt stays while the split runs, and so does every id.
            #expect(
                try await larder.run("split", feed, "A=1:1", "B=4:1").output.contains("salt s;")
            )
            try await check(live: 4)
            let promoted = try await larder.run("split", feed, "--promote", "A")
            #expect(promoted.output.contains("all read release 1"), "\(promoted)")
            for id in ids {
                let found = try await lookup(feed, id, larder)
                #expect(found.arm == nil && found.release == 1)
            }
            #expect(
                try await larder.run("split", feed).output.contains(
                    /s +A=1:1 B=4:1 +\d{4}-.*UTC +\d{4}-/
                )
            )
            #expect(try await larder.run("split", feed, "--end").errors.contains("is not split"))
        }
    }

    @Test func `an arm whose release is gone reads the live one`() async throws {
        let server = try await OwnRedis()
        let client = RedisClient(server.address)
        let cache = FeedCache("f", on: client)
        for release in 1...2 {
            try await cache.writeHead(
                Array("[\"r\(release)\"]".utf8),
                FeedCache.Meta(
                    format: .json,
                    k: 1,
                    spare: 0,
                    listsFor: "users",
                    count: 0,
                    dataset: "d",
                    model: "m",
                    created: "now"
                ),
                release: release,
                expire: .seconds(600)
            )
        }
        try await cache.flip(from: nil, to: 2, token: 1, .publish)
        try await cache.setRules(hidden: [], split: Split("s A=1:1 B=2:1"), version: 2)
        let reader = FeedReader(client)
        let split = try #require(Split("s A=1:1 B=2:1"))
        let id = try #require((0..<64).map { "u\($0)" }.first { split.arm(of: $0).name == "A" })
        #expect(try await reader.lookup(.init(feed: "f", id: id))?.release == 1)
        // Not while it has readers; and an older word about the split is not heard.
        #expect(try await !cache.retire(release: 1))
        try await cache.setRules(hidden: [], split: nil, version: 1)
        #expect(try await reader.lookup(.init(feed: "f", id: id))?.arm == "A")

        try await server.command("DEL", "rec:f:1:_meta", "rec:f:1:_default")
        // One that knew it, and one that never did.
        #expect(try await reader.lookup(.init(feed: "f", id: id))?.release == 2)
        let found = try #require(try await FeedReader(client).lookup(.init(feed: "f", id: id)))
        #expect(found.release == 2 && found.arm == nil)
        #expect(found.entries.map(\.id) == ["r2"])
        try await cache.setRules(hidden: [], split: nil, version: 3)
        #expect(try await cache.retire(release: 1))
    }

    @Test func `what is no split is told`() async throws {
        try await files.with { larder in
            func errors(_ arguments: String...) async throws -> String {
                let all = ["split"] + arguments
                let found = try await larder.run(all)
                #expect(found.status == 64)
                return found.errors
            }
            #expect(try await errors("no-feed").contains("there is no feed"))
            #expect(try await errors("f", "A=1:1").contains("two arms or more"))
            #expect(try await errors("f", "A=1:1", "A=2:1").contains("the same name"))
            #expect(try await errors("f", "A=1", "B=2:1").contains("\"A=1\" is no arm"))
            #expect(try await errors("f", "A=1:1", "B=2:1", "--end").contains("one of them"))
            #expect(try await errors("f", "A=1:1", "B=2:1", "--salt", "a b").contains("salt must"))
            let feed = TestServers.uniqueFeed()
            let worker = try await larder.start("worker")
            defer { worker.kill() }
            let file = try files.pipeline(feed: feed, model: "{ kind: popularity }")
            #expect(try await larder.run("run", file, "--follow").status == 0)
            #expect(
                try await errors(feed, "A=1:1", "B=9:1").contains(
                    "release 9 of \"\(feed)\" is not in Redis"
                )
            )
            #expect(try await errors(feed, "--promote", "B").contains("is not split"))
        }
    }
}
