// SPDX-License-Identifier: Apache-2.0
import CacheWriter
import Foundation
import Jobs
import Postgres
import TestSupport
import Testing

/// Lists on their way to Redis, while what they go through fails.
@Suite(.timeLimit(Effort.limit)) struct PublishFaultTests {
    private let files: CommandFeed
    private let feed = TestServers.uniqueFeed()

    init() throws { files = try CommandFeed() }

    private func lists(_ count: Int) -> [FeedCache.List] {
        (0..<count).map { place in
            FeedCache.List(
                id: ArraySlice("u\(place)".utf8),
                bytes: Array("[\"\(place)\",\"\(String(repeating: "x", count: 250))\"]".utf8)
            )
        }
    }

    /// How many of them are in Redis as they are.
    private func arrived(_ lists: [FeedCache.List], _ server: OwnRedis) async throws -> Int {
        let names = lists.map { "rec:\(feed):1:" + String(decoding: $0.id, as: UTF8.self) }
        let found = try await RedisClient(server.address).command(["MGET"] + names)
        guard case .array(let values) = found else { return 0 }
        return zip(values, lists).count { $0 == .bytes($1.bytes) }
    }

    @Test func `errors here and there are asked again, and every list is there`() async throws {
        let server = try await OwnRedis()
        let proxy = try await RedisProxy(to: server, "errors", "1000")
        let lists = lists(20_000)
        let cache = FeedCache(feed, on: RedisClient(proxy.address))
        _ = try await cache.write(lists, release: 1, expire: .seconds(600))
        #expect(try await arrived(lists, server) == lists.count)
    }

    @Test func `errors that stay are told in the server's words`() async throws {
        let server = try await OwnRedis()
        let proxy = try await RedisProxy(to: server, "errors", "1")
        let cache = FeedCache(feed, on: RedisClient(proxy.address))
        let error = await #expect(throws: CacheError.self) {
            _ = try await cache.write(lists(20_000), release: 1, expire: .seconds(600))
        }
        #expect(error == .refused("ERR one in so many"))
    }

    /// So many batches of 4,000.
    private func write(_ lists: [FeedCache.List], _ cache: FeedCache) async throws -> Int {
        var rest = lists[...]
        return try await cache.write {
            guard !rest.isEmpty else { return nil }
            var batch = cache.batch(release: 1, expire: .seconds(600))
            for list in rest.prefix(4000) { batch.append(list.id, list.bytes) }
            rest = rest.dropFirst(4000)
            return batch
        }
    }

    @Test func `batch after batch arrives, errors or not`() async throws {
        let server = try await OwnRedis()
        let lists = lists(30_000)
        let proxy = try await RedisProxy(to: server, "errors", "1000")
        _ = try await write(lists, FeedCache(feed, on: RedisClient(proxy.address)))
        #expect(try await arrived(lists, server) == lists.count)
        let never = try await RedisProxy(to: server, "errors", "1")
        await #expect(throws: CacheError.refused("ERR one in so many")) {
            try await write(lists, FeedCache(feed, on: RedisClient(never.address)))
        }
        let cut = try await RedisProxy(to: server, "stop", "3000000")
        let client = RedisClient(cut.address, timeout: .seconds(1))
        let error = await #expect(throws: CacheError.self) {
            try await write(lists, FeedCache(feed, on: client))
        }
        #expect(error?.description.contains("within the time limit") == true, "\(error as Any)")
    }

    @Test func `a batch that is not made stops the writing, and the connection goes on`()
        async throws
    {
        struct Stopped: Error {}
        let server = try await OwnRedis()
        let cache = FeedCache(feed, on: RedisClient(server.address))
        let lists = lists(20_000)
        var made = 0
        await #expect(throws: Stopped.self) {
            try await cache.write {
                made += 1
                if made == 4 { throw Stopped() }
                var batch = cache.batch(release: 1, expire: .seconds(600))
                for list in lists.prefix(4000) { batch.append(list.id, list.bytes) }
                return batch
            }
        }
        #expect(made == 4)
        #expect(try await write(lists, cache) > lists.count * 250)
        #expect(try await arrived(lists, server) == lists.count)
    }

    @Test func `a slow network is waited for`() async throws {
        let server = try await OwnRedis()
        let proxy = try await RedisProxy(to: server, "slow", "1000000")
        let lists = lists(5000)
        let cache = FeedCache(feed, on: RedisClient(proxy.address, timeout: .seconds(1)))
        let began = ContinuousClock.now
        // 1.5 MB, longer than the time limit of a single reply.
        let sent = try await cache.write(lists, release: 1, expire: .seconds(600))
        #expect(ContinuousClock.now - began > .seconds(1) && sent > 1_400_000)
        #expect(try await arrived(lists, server) == lists.count)
    }

    /// The release that readers have; all of one, and whole.
    private func wholeRelease(_ server: OwnRedis) async throws -> Int {
        let answers = try await FeedReader(RedisClient(server.address)).lookup(
            (0..<40).map { FeedReader.Question(feed: feed, id: "u\($0)") }
        ).map { try #require(try $0.get()) }
        #expect(Set(answers.map(\.source)) == [.list])
        #expect(answers.allSatisfy { $0.entries.count == 5 })
        #expect(Set(answers.map(\.release)).count == 1)
        return answers[0].release
    }

    @Test func `a worker that is killed anywhere on the way leaves readers a whole release`()
        async throws
    {
        let server = try await OwnRedis()
        try await files.with(redis: server.url) { larder in
            let file = try files.pipeline(feed: feed, model: "{ kind: popularity }")
            let client = Client(ConnectionSettings(larder.database))
            func through(_ proxy: RedisProxy) -> Larder {
                Larder(database: larder.database, redis: proxy.address.url, home: larder.home)
            }
            let first = try await RedisProxy(to: server, "count")
            let worker = try await through(first).start("worker")
            #expect(try await larder.run("run", file, "--follow").status == 0)
            #expect(try await worker.terminate() == 0)
            var bytes = 0
            try await waitUntil("the proxy has counted") {
                bytes = try first.told.last.flatMap { Int($0) } ?? 0
                return bytes > 0
            }
            #expect(try await wholeRelease(server) == 1)

            let points = Effort.scaled(4, long: 40)
            for point in 1...points {
                let proxy = try await RedisProxy(
                    to: server,
                    "stop",
                    "\(bytes * point / (points + 1))"
                )
                let victim = try await through(proxy).start("worker")
                #expect(try await larder.run("run", file).status == 0)
                try await waitUntil("the worker is half way", within: .seconds(60)) {
                    try proxy.told.contains("stopped")
                }
                try await victim.killed()
                #expect(try await [point, point + 1].contains(wholeRelease(server)))
                try await client.execute("UPDATE larder.sessions SET expires_at = now()")
                let heir = try await larder.start("worker")
                try await waitUntil("another goes on", within: .seconds(60)) {
                    try await Runs(client).list(limit: 1).map(\.state) == ["succeeded"]
                }
                #expect(try await heir.terminate() == 0)
                #expect(try await wholeRelease(server) == point + 1)
            }
        }
    }

    @Test func `a Postgres that knows less than Redis counts on from there`() async throws {
        let file = try files.pipeline(feed: feed, model: "{ kind: popularity }")
        let server = try await OwnRedis()
        // The second database is one that was restored from before the feed's first run.
        for releases in [1...2, 3...4] {
            try await files.with(redis: server.url) { larder in
                let worker = try await larder.start("worker")
                defer { worker.kill() }
                for release in releases {
                    // What only Redis knows of is gone with the next release.
                    let rules = FeedCache(feed, on: RedisClient(server.address))
                    try await rules.setRules(
                        hidden: ["i1"],
                        split: Split("s A=\(release):1 B=live:1"),
                        version: 4_000_000_000_000_000 + release
                    )
                    let run = try await larder.run("run", file, "--follow")
                    #expect(run.status == 0, "\(run)")
                    #expect(try await wholeRelease(server) == release)
                    let hidden = try await server.ask("EXISTS", "{rec:\(feed):live}:hidden")
                    #expect(hidden == .integer(0))
                    #expect(try await rules.split() == nil)
                }
                let back = try await larder.run("rollback", feed)
                #expect(back.status == 0, "\(back)")
                #expect(try await wholeRelease(server) == releases.lowerBound)
                let forth = try await larder.run("rollback", feed, "\(releases.upperBound)")
                #expect(forth.status == 0, "\(forth)")
            }
        }
    }
}
