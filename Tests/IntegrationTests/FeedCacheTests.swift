// SPDX-License-Identifier: Apache-2.0
import Foundation
import Synchronization
import TestSupport
import Testing

@testable import CacheWriter

@Suite(.timeLimit(Effort.limit)) struct FeedCacheTests {
    private let client: RedisClient
    private let feed = TestServers.uniqueFeed()
    private let cache: FeedCache
    private let reader: FeedReader

    init() throws {
        client = RedisClient(try TestServers.redis)
        cache = FeedCache(feed, on: client)
        reader = FeedReader(client)
    }

    private func list(_ id: String, _ items: [String]) -> FeedCache.List {
        FeedCache.List(
            id: ArraySlice(id.utf8),
            bytes: ListEncoder(.json, ids: items).encode(
                items.indices.map { Int32($0) },
                scores: items.map { _ in 0 }
            )
        )
    }

    /// A release whose every list names the release itself.
    private func write(_ release: Int, ids: [String], expire: Duration = .seconds(600)) async throws
    {
        _ = try await cache.write(
            ids.map { list($0, ["r\(release)", $0]) },
            release: release,
            expire: expire
        )
        try await cache.writeHead(
            list("", ["r\(release)", "default"]).bytes,
            FeedCache.Meta(
                format: .json,
                k: 2,
                spare: 0,
                listsFor: "users",
                count: ids.count,
                dataset: "d",
                model: "m",
                created: "now"
            ),
            release: release,
            expire: expire
        )
    }

    @Test func `lists of many windows arrive, each with its expiry`() async throws {
        let ids = (0..<20_000).map { "user \($0)" }
        let sent = try await cache.write(
            ids.map { list($0, ["a", $0]) },
            release: 1,
            expire: .seconds(100)
        )
        #expect(sent > 20_000 * 60)
        for id in [ids[0], ids[9_999], ids[19_999]] {
            #expect(
                try await client.command("GET", "rec:\(feed):1:\(id)").text == "[\"a\",\"\(id)\"]"
            )
            guard case .integer(let ttl) = try await client.command("TTL", "rec:\(feed):1:\(id)")
            else {
                Issue.record("no expiry")
                return
            }
            #expect((50...100).contains(ttl))
        }
        try await cache.verify(
            [
                .init(
                    id: Array(ids[7].utf8),
                    fingerprint: Fingerprint(list("", ["a", ids[7]]).bytes)
                )
            ],
            release: 1,
            format: .json,
            k: 2
        )
    }

    @Test func `ids of every kind can be looked up`() async throws {
        let ids = [
            "with space", "quo\"te", "co:lon", "{brace}", "new\nline\r\n", "🍲", "_default", "_meta",
            String(repeating: "k", count: 4096),
        ]
        try await write(1, ids: ids)
        try await cache.flip(from: nil, to: 1, token: 1, .rollback)
        for id in ids {
            let found = try #require(try await reader.lookup(.init(feed: feed, id: id)))
            #expect(found.source == .list)
            #expect(found.entries.map(\.id) == ["r1", id])
        }
        let unknown = try #require(try await reader.lookup(.init(feed: feed, id: "nobody")))
        #expect(unknown.source == .default && unknown.entries.map(\.id) == ["r1", "default"])
    }

    @Test func `a feed without a release is nothing, not an error`() async throws {
        #expect(try await cache.live() == nil)
        #expect(try await reader.lookup(.init(feed: feed, id: "x")) == nil)
    }

    @Test func `the pointer moves from where it was expected, and running it again is harmless`()
        async throws
    {
        for release in 1...3 { try await write(release, ids: []) }
        try await cache.flip(from: nil, to: 1, token: 10, .rollback)
        try await cache.flip(from: nil, to: 1, token: 10, .rollback)
        try await cache.flip(from: 1, to: 2, token: 11, .rollback)
        #expect(try await cache.live() == 2)
        #expect(try await cache.previous() == 1)
        let error = await #expect(throws: CacheError.self) {
            try await cache.flip(from: 1, to: 3, token: 12, .rollback)
        }
        #expect(error?.description.contains("now release 2") == true)
        #expect(try await cache.live() == 2)
    }

    @Test func `a publisher with an older token is refused, even where the pointer fits`()
        async throws
    {
        for release in 1...2 { try await write(release, ids: []) }
        try await cache.flip(from: nil, to: 1, token: 10, .publish)
        try await cache.flip(from: 1, to: 2, token: 20, .publish)
        // An operator rolls back; the paused publisher of 2 wakes up and tries again.
        try await cache.flip(from: 2, to: 1, token: 30, .rollback)
        await #expect(throws: CacheError.self) {
            try await cache.flip(from: 1, to: 2, token: 20, .publish)
        }
        #expect(try await cache.live() == 1)
    }

    @Test func `a publish that is run again does not undo a rollback, an operator can`()
        async throws
    {
        for release in 1...2 { try await write(release, ids: []) }
        try await cache.flip(from: nil, to: 1, token: 1, .publish)
        try await cache.flip(from: 1, to: 2, token: 2, .publish)
        try await cache.flip(from: 2, to: 1, token: 3, .rollback)
        // The job's next attempt, with a token of its own and the pointer as it found it.
        await #expect(throws: CacheError.self) {
            try await cache.flip(from: 1, to: 2, token: 4, .publish)
        }
        #expect(try await cache.live() == 1)
        try await cache.flip(from: 1, to: 2, token: 5, .rollback)
        #expect(try await cache.live() == 2)
    }

    @Test func `a release cannot be collected while it is live, nor go live while it is collected`()
        async throws
    {
        for release in 1...2 { try await write(release, ids: ["a"]) }
        try await cache.flip(from: nil, to: 1, token: 1, .publish)
        #expect(try await !cache.retire(release: 1))
        #expect(try await reader.lookup(.init(feed: feed, id: "nobody"))?.entries.count == 2)
        #expect(try await cache.retire(release: 2))
        let error = await #expect(throws: CacheError.self) {
            try await cache.flip(from: 1, to: 2, token: 2, .rollback)
        }
        #expect(error?.description.contains("release 2 of \"\(feed)\" is not in Redis") == true)
        #expect(try await cache.live() == 1)
    }

    @Test func `a list that is gone or changed fails the verification`() async throws {
        try await write(1, ids: ["a", "b"])
        let samples = ["a", "b"].map {
            FeedCache.Sample(
                id: Array($0.utf8),
                fingerprint: Fingerprint(list("", ["r1", $0]).bytes)
            )
        }
        try await cache.verify(samples, release: 1, format: .json, k: 2)
        try await client.command("SET", "rec:\(feed):1:b", "[\"r1\",\"x\"]")
        let changed = await #expect(throws: CacheError.self) {
            try await cache.verify(samples, release: 1, format: .json, k: 2)
        }
        #expect(changed?.description.contains("the list of \"b\" in release 1") == true)
        try await client.command("DEL", "rec:\(feed):1:b")
        let gone = await #expect(throws: CacheError.self) {
            try await cache.verify(samples, release: 1, format: .json, k: 2)
        }
        #expect(gone?.description.contains("is gone from Redis") == true)
    }

    @Test func `readers during a thousand flips see whole releases only`() async throws {
        let ids = (0..<50).map { "u\($0)" }
        for release in 1...4 { try await write(release, ids: ids) }
        try await cache.flip(from: nil, to: 1, token: 1, .rollback)
        // One reader for both: what one learns of the head, the other may be in the middle of using.
        let reader = FeedReader(RedisClient(try TestServers.redis))
        final class Reads: Sendable { let count = Atomic(0) }
        let reads = Reads()
        try await withThrowingTaskGroup(of: Void.self) { group in
            for _ in 0..<2 {
                group.addTask {
                    while !Task.isCancelled {
                        let id = ids[reads.count.load(ordering: .relaxed) % 50]
                        let found = try #require(
                            try await reader.lookup(.init(feed: feed, id: id))
                        )
                        // The list itself names the release it was written for.
                        #expect(found.entries.map(\.id) == ["r\(found.release)", id])
                        reads.count.add(1, ordering: .relaxed)
                    }
                }
            }
            var live = 1
            var token = 2
            while token < 1002 || reads.count.load(ordering: .relaxed) < 1000 {
                let next = live % 4 + 1
                try await cache.flip(from: live, to: next, token: token, .rollback)
                live = next
                token += 1
            }
            group.cancelAll()
            try await group.waitForAll()
        }
    }

    @Test func `two who are paced write no faster together than they may`() async throws {
        let start = ContinuousClock.now
        let encoder = ListEncoder(.json, ids: ["i"])
        try await withThrowingTaskGroup(of: Void.self) { group in
            for writer in 0..<2 {
                group.addTask {
                    let cache = FeedCache(feed, on: RedisClient(try TestServers.redis))
                    var count = 0
                    _ = try await cache.write(rate: 2000) {
                        guard count < 10 else { return nil }
                        var batch = cache.batch(release: 1, expire: .seconds(60))
                        for list in 0..<50 {
                            let id = Array("w\(writer)-\(count)-\(list)".utf8)[...]
                            batch.append(id, [0], scores: [1], as: encoder)
                        }
                        count += 1
                        return batch
                    }
                }
            }
            try await group.waitForAll()
        }
        // A thousand lists; the last batch may begin a fortieth of a second before their time is over.
        #expect(start.duration(to: .now) >= .milliseconds(470))
        let client = RedisClient(try TestServers.redis)
        for id in ["w0-0-0", "w0-9-49", "w1-9-49"] {
            #expect(try await client.command("EXISTS", "rec:\(feed):1:\(id)") == .integer(1))
        }
        // A clock that was set back by days holds nobody up for days.
        try await client.command("HINCRBY", "{rec:\(feed):live}:head", "due", "1000000000000")
        var isDone = false
        _ = try await cache.write(rate: 100) {
            guard !isDone else { return nil }
            isDone = true
            var batch = cache.batch(release: 1, expire: .seconds(60))
            batch.append(Array("last".utf8), encoder.encode([0], scores: [1]))
            return batch
        }
        #expect(try await client.command("EXISTS", "rec:\(feed):1:last") == .integer(1))
    }

    @Test func `hidden items are left out at once, and an older set of them changes nothing`()
        async throws
    {
        try await write(1, ids: ["a", "b"])
        try await cache.flip(from: nil, to: 1, token: 1, .publish)
        func entries(_ id: String) async throws -> [String]? {
            try await reader.lookup(.init(feed: feed, id: id))?.entries.map(\.id)
        }
        #expect(try await entries("a") == ["r1", "a"])
        // More than Redis' Lua can pass to one command.
        let many = (0..<10_000).map { "x\($0)" }
        try await cache.setRules(hidden: many + ["r1"], split: nil, version: 2)
        #expect(try await entries("a") == ["a"])
        #expect(try await entries("nobody") == ["default"])
        try await cache.setRules(hidden: [], split: nil, version: 1)
        #expect(try await entries("b") == ["b"])
        try await cache.setRules(hidden: ["b"], split: nil, version: 3)
        #expect(try await entries("b") == ["r1"])
        try await cache.setRules(hidden: [], split: nil, version: 4)
        #expect(try await entries("b") == ["r1", "b"])
    }

    @Test func `ids without a list get their segment's, their category's, then everybody's`()
        async throws
    {
        try await write(1, ids: ["a"])
        try await cache.write(
            [
                .init(.segment, "Rome", list("", ["r1", "rome"]).bytes),
                .init(.category, "Rome", list("", ["r1", "comedy"]).bytes),
            ],
            release: 1,
            expire: .seconds(600)
        )
        try await cache.flip(from: nil, to: 1, token: 1, .publish)
        func found(_ id: String, _ segment: String?, _ category: String?) async throws -> [String] {
            let found = try #require(
                try await reader.lookup(
                    .init(feed: feed, id: id, segment: segment, category: category)
                )
            )
            return [found.source.rawValue, found.entries[1].id]
        }
        #expect(try await found("a", "Rome", "Rome") == ["list", "a"])
        #expect(try await found("b", "Rome", "Rome") == ["segment", "rome"])
        #expect(try await found("b", "Pisa", "Rome") == ["category", "comedy"])
        #expect(try await found("b", nil, "Pisa") == ["default", "default"])
        // An id cannot be taken for one of these.
        #expect(try await found("_segment:Rome", nil, nil) == ["default", "default"])

        try await write(2, ids: ["a"])
        try await cache.flip(from: 1, to: 2, token: 2, .publish)
        #expect(try await cache.retire(release: 1))
        try await cache.removeHead(release: 1)
        for key in ["_segment:Rome", "_category:Rome", "_fallbacks", "_default", "_meta"] {
            #expect(try await client.command("EXISTS", "rec:\(feed):1:\(key)") == .integer(0))
        }
    }

    @Test func `removed lists are gone and others are not`() async throws {
        try await write(1, ids: ["a", "b"])
        try await write(2, ids: ["a", "b"])
        try await cache.remove(["a", "b"].map { ArraySlice($0.utf8) }, release: 1)
        #expect(try await cache.retire(release: 1))
        #expect(
            try await client.command("EXISTS", "rec:\(feed):1:a", "rec:\(feed):2:a") == .integer(1)
        )
    }

    @Test func `a release that is being collected is none for those who name it`() async throws {
        for release in 1...2 { try await write(release, ids: ["a"]) }
        try await cache.flip(from: nil, to: 2, token: 1, .publish)
        #expect(try await cache.expiry(of: 1) != nil)
        #expect(try await cache.lists([Array("a".utf8)], release: 1).lists[0] != nil)
        #expect(try await cache.retire(release: 1))
        // Its description goes last: it says how the lists are stored.
        #expect(try await cache.storage(of: 1) != nil)
        #expect(try await cache.expiry(of: 1) == nil)
        let found = try await cache.lists([Array("a".utf8)], release: 1)
        #expect(found.lists[0] == nil && found.defaultList.isEmpty)
        await #expect(throws: CacheError.self) {
            try await cache.copyOfHead(release: 1, expire: .seconds(1))
        }
        try await cache.removeHead(release: 1)
        #expect(try await cache.storage(of: 1) == nil)
    }

    @Test func `hashes are removed by their numbers, also of a release that was never whole`()
        async throws
    {
        var batch = cache.batch(release: 1, .buckets(4), expire: .seconds(60))
        for id in 0..<100 { batch.append("u\(id)".utf8, Array("[]".utf8)) }
        try await cache.write(batch)
        #expect(try await cache.storage(of: 1) == nil)
        func hashes() async throws -> Int {
            var count = 0
            for bucket in 0..<6 {
                count +=
                    try await client.command("HLEN", "rec:\(feed):1:_b:\(bucket)").number ?? 0
            }
            return count
        }
        #expect(try await hashes() == 100)
        try await cache.remove(buckets: 0..<6, release: 1)
        #expect(try await hashes() == 0)
    }

    @Test func `nobody listening is told with the address`() async throws {
        let nowhere = RedisClient(
            try RedisAddress("redis://:s3cret@127.0.0.1:1"),
            timeout: .seconds(2)
        )
        let error = await #expect(throws: CacheError.self) { try await nowhere.command("PING") }
        #expect(error?.description.contains("127.0.0.1:1") == true)
        #expect(error?.description.contains("s3cret") == false)
    }
}
