// SPDX-License-Identifier: Apache-2.0
import CacheWriter
import Foundation
import TestSupport
import Testing

/// Releases whose lists overwrite those of the one before.
@Suite(.timeLimit(Effort.limit)) struct InPlaceTests {
    private let files: CommandFeed
    private let feed = TestServers.uniqueFeed()

    init() throws { files = try CommandFeed() }

    /// `more`: an item that becomes the most popular; the first half of the users has seen it then.
    private func pipeline(
        more: Int? = nil,
        predict: String = "{ for: users, k: 5, shard: 50 }",
        publish: String = "{ expire: 1h, in-place: true }"
    ) throws -> String {
        let users = 200
        var events = (0..<users * 4).map { "u\($0 % users),i\($0 * 7 % 41),\($0)\n" }
        if let more { events += (0..<users / 2).map { "u\($0),i\(more),\(900 + $0)\n" } }
        return try files.pipeline(
            feed: feed,
            events: "user,item,time\n" + events.joined(),
            predict: predict,
            model: "{ kind: popularity }",
            publish: publish
        )
    }

    private func run(_ larder: Larder, _ file: String) async throws -> String {
        let result = try await larder.run("run", file, "--force", "all", "--follow")
        try #require(result.status == 0, "\(result)")
        return result.output
    }

    @Test func `a bare GET has the list, and only what has changed is written`() async throws {
        let server = try await OwnRedis()
        try await files.with(redis: server.url) { larder in
            let worker = try await larder.start("worker")
            defer { worker.kill() }
            let file = try pipeline()
            #expect(try await !run(larder, file).contains("are not those that stood there"))
            let list = try await server.ask("GET", "rec:\(feed):live:u7").text
            #expect(list?.hasPrefix(#"["i"#) == true)
            #expect(try await server.ask("GET", "rec:\(feed):live:_default").text != nil)
            let lookup = try await larder.run("lookup", feed, "u7", "--json")
            #expect(lookup.output.contains("rec:\(feed):live:u7"), "\(lookup)")

            // What stands there already is not sent again, and expires later.
            try await server.command("EXPIRE", "rec:\(feed):live:u7", "60")
            let sent = try await server.sets()
            #expect(
                try await run(larder, file).contains(
                    "0 % of 200 lists are not those that stood there"
                )
            )
            // The default list, the pointer, and what the lists in place are.
            #expect(try await server.sets() == sent + 3)
            let seconds = try await server.ask("TTL", "rec:\(feed):live:u7").number ?? 0
            #expect((3000...3600).contains(seconds))

            // A list of another is put right, and the others are left as they are.
            try await server.command("SET", "rec:\(feed):live:u7", #"["i1"]"#)
            #expect(try await run(larder, file).contains("0 % of 200 lists"))
            #expect(try await server.ask("GET", "rec:\(feed):live:u7").text == list)

            #expect(try await run(larder, pipeline(more: 3)).contains("% of 200 lists are not"))
            let other = try await server.ask("GET", "rec:\(feed):live:u150").text
            #expect(other?.contains(#""i3""#) == true)
            #expect(list?.contains(#""i3""#) == false)
            let releases = try await larder.run("releases", feed)
            #expect(releases.output.contains("json in place"), "\(releases)")

            let back = try await larder.run("rollback", feed)
            #expect(back.status == 64, "\(back)")
            #expect(back.errors.contains("written in place"), "\(back)")
            let split = try await larder.run("split", feed, "A=3:1", "B=live:1")
            #expect(split.status == 64 && split.errors.contains("written in place"), "\(split)")

            // Collecting the releases before took nothing of what they share.
            try await waitUntil("release 1 is collected") {
                try await server.ask("EXISTS", "rec:\(feed):1:_meta").number == 0
            }
            #expect(try await server.ask("EXISTS", "rec:\(feed):live:u7").number == 1)
            #expect(try await server.ask("EXISTS", "rec:\(feed):live:_default").number == 1)
        }
    }

    @Test func `a feed changes from releases to lists in place, and back`() async throws {
        try await files.with { larder in
            let worker = try await larder.start("worker")
            defer { worker.kill() }
            func lookup() async throws -> String {
                try await larder.run("lookup", feed, "u7", "--json").output
            }
            _ = try await run(larder, pipeline(publish: "{ expire: 1h }"))
            #expect(try await lookup().contains("rec:\(feed):1:u7"))
            _ = try await run(larder, pipeline())
            #expect(try await lookup().contains("rec:\(feed):live:u7"))
            let back = try await larder.run("rollback", feed)
            #expect(back.status == 0, "\(back)")
            #expect(try await lookup().contains("rec:\(feed):1:u7"))
            // The lists in place are those of a release that is live no more, and is none to go back to.
            #expect(try await larder.run("rollback", feed).errors.contains("written in place"))
            let last = try await run(larder, pipeline(publish: "{ expire: 1h }"))
            #expect(last.contains("of 200 lists are not those of release 1"), "\(last)")
            #expect(try await lookup().contains("rec:\(feed):3:u7"))
        }
    }

    @Test func `lists of another format or audience are not mixed with those in place`()
        async throws
    {
        try await files.with { larder in
            let worker = try await larder.start("worker")
            defer { worker.kill() }
            let inPlace = "{ expire: 1h, in-place: true }"
            func refused(_ pipeline: String, _ words: String) async throws {
                let result = try await larder.run("run", pipeline, "--force", "all", "--follow")
                #expect(result.status != 0 && result.output.contains(words), "\(result)")
            }
            _ = try await run(larder, pipeline())
            let packed = "{ expire: 1h, in-place: true, format: packed }"
            try await refused(pipeline(publish: packed), "are json for users, and packed for users")
            let items = "{ for: items, k: 5 }"
            try await refused(
                pipeline(predict: items, publish: inPlace),
                "are json for users, and json for items"
            )
            // A release in between changes nothing about what stands there.
            _ = try await run(larder, pipeline(publish: "{ expire: 1h }"))
            try await refused(pipeline(publish: packed), "are json for users")
            #expect(try await larder.run("lookup", feed, "u7").status == 0)
        }
    }

    @Test func `where every list would be empty those that are there stay`() async throws {
        try await files.with { larder in
            let worker = try await larder.start("worker")
            defer { worker.kill() }
            func pipeline(_ items: Int) throws -> String {
                // Everybody has had all there is, but for the item that comes last.
                let rows = (0..<20).flatMap { user in
                    (0..<items).map { "u\(user),i\($0),\($0)\n" }
                }
                return try files.pipeline(
                    feed: feed,
                    events: "user,item,time\n" + rows.joined() + (items > 5 ? "" : "u0,i5,9\n"),
                    model: "{ kind: popularity }",
                    publish: "{ expire: 1h, in-place: true }"
                )
            }
            _ = try await run(larder, pipeline(5))
            let before = try await larder.run("lookup", feed, "u7", "--json").output
            #expect(before.contains("i5"))
            let result = try await larder.run("run", pipeline(6), "--force", "all", "--follow")
            #expect(result.status != 0 && result.output.contains("came out empty"), "\(result)")
            let after = try await larder.run("lookup", feed, "u7", "--json").output
            #expect(after == before)
        }
    }

    @Test func `a writer that was overtaken writes no more`() async throws {
        let client = RedisClient(try RedisAddress(TestServers.redisURL))
        let cache = FeedCache(feed, on: client)
        try await cache.noteDrawn(3)
        func changes(_ release: Int) async throws -> Int {
            var compared = 0
            let lists = (0..<10).map {
                (id: ArraySlice("u\($0)".utf8), list: Array(#"["\#($0 % 2)"]"#.utf8))
            }
            let batch = try await cache.changes(lists, release: release, expire: .seconds(60)) {
                _,
                _ in
                compared += 1
            }
            #expect(batch.count == 10)
            try await cache.write(batch)
            return compared
        }
        #expect(try await changes(3) == 0)
        #expect(try await changes(3) == 10)
        let error = await #expect(throws: CacheError.self) { try await changes(2) }
        #expect(error?.description.contains("release 3 of") == true)
        await #expect(throws: CacheError.self) { try await cache.checkNewest(2) }
        try await cache.checkNewest(3)
        #expect(try await cache.isOverwritten(2) == false)
        for release in 2...3 {
            try await cache.writeHead(
                Array("[]".utf8),
                FeedCache.Meta(
                    format: .json,
                    k: 1,
                    spare: 0,
                    layout: .inPlace,
                    listsFor: "users",
                    count: 10,
                    dataset: "d",
                    model: "m",
                    created: "now"
                ),
                release: release,
                expire: .seconds(60)
            )
        }
        // Whoever asks whether a list has changed learns of it while its release goes on.
        try await cache.flip(from: nil, to: 3, token: 1, .publish)
        let reader = FeedReader(client)
        let before = try #require(try await reader.lookup(.init(feed: feed, id: "u1")))
        try await client.command("SET", before.key, #"["changed"]"#)
        let after = try #require(try await reader.lookup(.init(feed: feed, id: "u1")))
        #expect(after.release == before.release && after.version != before.version)
        // What was live then cannot be scored by lists that were made later.
        #expect(try await cache.isOverwritten(2))
        #expect(try await !cache.isOverwritten(3))
    }

    @Test func `what cannot be done in place is refused before anything runs`() async throws {
        try await files.with { larder in
            let both = try pipeline(publish: "{ in-place: true, compact: true }")
            let result = try await larder.run("run", both)
            #expect(
                result.status == 64 && result.errors.contains("take one of the two"),
                "\(result)"
            )
            let gates = try files.pipeline(
                feed: feed,
                more:
                    "check: [overlap-with-live@5 > 0.1, recall@5 >= 0, share-of-cold-lists < 0.5]",
                publish: "{ in-place: true }"
            )
            let held = try await larder.run("run", gates)
            #expect(held.status == 64, "\(held)")
            #expect(held.errors.contains("overlap-with-live@5 > 0.1\" looks at"), "\(held)")
            #expect(held.errors.contains("share-of-cold-lists < 0.5\" looks at"), "\(held)")
            #expect(!held.errors.contains("recall"), "\(held)")
        }
    }
}

extension OwnRedis {
    /// How many SETs it was sent.
    fileprivate func sets() async throws -> Int {
        let text = try await ask("INFO", "commandstats").text ?? ""
        let line = text.split(whereSeparator: \.isNewline).first { $0.hasPrefix("cmdstat_set:") }
        let calls = line?.split(separator: ",").first?.split(separator: "=").last
        return calls.flatMap { Int($0) } ?? 0
    }
}
