// SPDX-License-Identifier: Apache-2.0
import Glibc
import TestSupport
import Testing

@testable import CacheWriter

/// Lists in a cluster of six servers, that is changed while they are written and read.
@Suite(.serialized, .timeLimit(Effort.limit)) struct ClusterTests {
    private var feed = TestServers.uniqueFeed()

    private static let meta = FeedCache.Meta(
        format: .json,
        k: 3,
        spare: 0,
        listsFor: "users",
        count: 5000,
        dataset: "d",
        model: "m",
        created: "now"
    )

    /// Every list of a release starts with its number.
    private func write(_ release: Int, of lists: Int, to cache: FeedCache) async throws {
        let encoder = ListEncoder(.json, ids: ["\(release)", "b", "c"])
        let list = encoder.encode([0, 1, 2], scores: [3, 2, 1])
        var rest = 0..<lists
        _ = try await cache.write {
            guard !rest.isEmpty else { return nil }
            var batch = cache.batch(release: release, expire: .seconds(600))
            for id in rest.prefix(1000) { batch.append("u\(id)".utf8, list) }
            rest = rest.dropFirst(1000)
            return batch
        }
        try await cache.writeHead(list, Self.meta, release: release, expire: .seconds(600))
        let samples = stride(from: 0, to: lists, by: 7).map {
            FeedCache.Sample(id: Array("u\($0)".utf8), fingerprint: Fingerprint(list))
        }
        try await cache.verify(samples, release: release, format: .json, k: 3)
    }

    /// Throws where a list is not of the release that is live.
    private func check(_ reader: FeedReader, _ ids: some Sequence<Int>) async throws {
        let questions = ids.map { FeedReader.Question(feed: feed, id: "u\($0)") }
        for answer in try await reader.lookup(questions) {
            let found = try #require(try answer.get())
            #expect(found.source == .list && found.entries.first?.id == "\(found.release)")
        }
    }

    @Test func `one address of one server is enough`() async throws {
        let cluster = try await OwnCluster()
        let client = RedisClient(try cluster.address)
        let cache = FeedCache(feed, on: client)
        try await write(1, of: 5000, to: cache)
        try await cache.flip(from: nil, to: 1, token: 1, .publish)
        try await check(FeedReader(RedisClient(try cluster.address)), 0..<5000)
        for server in cluster.primaries {
            #expect(try await server.ask("DBSIZE").number ?? 0 > 1000)
        }
        // Those who were written to had their replicas take it.
        for server in cluster.replicas {
            #expect(try await server.ask("DBSIZE").number ?? 0 > 1000)
        }
        try await write(2, of: 5000, to: cache)
        try await cache.flip(from: 1, to: 2, token: 2, .publish)
        #expect(try await cache.previous() == 1)
        try await cache.setRules(hidden: ["b"], split: Split("s A=1:1 B=live:1"), version: 1)
        let shown = try await FeedReader(client).lookup(.init(feed: feed, id: "u1", arm: "A"))
        #expect(shown?.entries.map(\.id) == ["1", "c"] && shown?.arm == "A")
        try await cache.setRules(hidden: [], split: nil, version: 2)
        #expect(try await cache.retire(release: 1))
        try await cache.remove((0..<5000).map { ArraySlice("u\($0)".utf8) }, release: 1)
        try await cache.removeHead(release: 1)
        var left = 0
        for server in cluster.primaries { left += try await server.ask("DBSIZE").number ?? 0 }
        #expect(left == 5000 + 4)
        // In place, over all servers: the second time everything is there.
        for known in [0, 3000] {
            var found = 0
            let lists = (0..<3000).map { (id: ArraySlice("p\($0)".utf8), list: Array("[]".utf8)) }
            let batch = try await cache.changes(lists, release: 3, expire: .seconds(60)) { _, _ in
                found += 1
            }
            #expect(found == known && batch.count == 3000)
            try await cache.write(batch)
        }
    }

    @Test func `slots that move take nothing away`() async throws {
        let cluster = try await OwnCluster()
        let client = RedisClient(try cluster.address)
        let cache = FeedCache(feed, on: client)
        try await write(1, of: 2000, to: cache)
        try await cache.flip(from: nil, to: 1, token: 1, .publish)
        let (reads, releases) = try await withThrowingTaskGroup(of: (Int, Int).self) { group in
            group.addTask {
                let reader = FeedReader(RedisClient(try cluster.address))
                var reads = 0
                while !Task.isCancelled {
                    try await check(reader, (0..<20).map { ($0 * 97 + reads) % 2000 })
                    reads += 1
                }
                return (reads, 0)
            }
            group.addTask {
                var release = 1
                while !Task.isCancelled {
                    do {
                        try await write(release + 1, of: 2000, to: cache)
                        try await cache.flip(
                            from: release,
                            to: release + 1,
                            token: release + 1,
                            .publish
                        )
                        release += 1
                    } catch  where Task.isCancelled {}
                }
                return (0, release)
            }
            for (from, to) in [(0, 1), (1, 2), (2, 0)] {
                try await cluster.reshard(1000, from: from, to: to)
            }
            group.cancelAll()
            var sums = (0, 0)
            for try await (reads, releases) in group {
                sums = (sums.0 + reads, sums.1 + releases)
            }
            return sums
        }
        #expect(reads > 5 && releases > 3, "\(reads) reads, \(releases) releases")
    }

    /// Half of the keys of one slot are here and half are there, for as long as the test wants.
    @Test func `a slot that is half moved is asked on both sides`() async throws {
        let cluster = try await OwnCluster()
        let client = RedisClient(try cluster.address)
        let cache = FeedCache(feed, on: client)
        try await write(1, of: 10, to: cache)
        try await cache.flip(from: nil, to: 1, token: 1, .publish)
        let keys = CacheKeys(feed: feed)
        let slot = HashSlot.of(ArraySlice(keys.live.utf8))
        let owner = slot * 3 / 16_384
        let from = cluster.primaries[owner]
        let to = cluster.primaries[(owner + 1) % 3]
        #expect(try await from.ask("CLUSTER", "KEYSLOT", keys.live).number == slot)
        try await to.command("CLUSTER", "SETSLOT", "\(slot)", "IMPORTING", from.clusterID())
        try await from.command("CLUSTER", "SETSLOT", "\(slot)", "MIGRATING", to.clusterID())
        func migrate(_ key: String) async throws {
            try await from.command("MIGRATE", "127.0.0.1", "\(to.port)", key, "0", "1000")
        }
        try await migrate(keys.live)
        // ASK: the pointer is there already.
        #expect(try await cache.live() == 1)
        try await check(FeedReader(client), 0..<10)
        // TRYAGAIN: a script wants the pointer, which is there, and the head, which is here.
        try await write(2, of: 10, to: cache)
        async let flipped: Void = cache.flip(from: 1, to: 2, token: 2, .publish)
        try await Task.sleep(for: .milliseconds(200))
        try await migrate(keys.head)
        for server in [to, from] {
            try await server.command("CLUSTER", "SETSLOT", "\(slot)", "NODE", to.clusterID())
        }
        try await flipped
        #expect(try await cache.live() == 2)
        #expect(try await to.ask("GET", keys.live).text == "2")
    }

    @Test func `a replica takes the place of a primary that dies, with every list`() async throws {
        let cluster = try await OwnCluster()
        let address = try RedisAddress(cluster.url(of: cluster.primaries[...]))
        let cache = FeedCache(feed, on: RedisClient(address))
        try await write(1, of: 2000, to: cache)
        try await cache.flip(from: nil, to: 1, token: 1, .publish)
        let reader = FeedReader(RedisClient(address, timeout: .seconds(2)))
        try await check(reader, 0..<2000)
        let pointer = HashSlot.of(ArraySlice(CacheKeys(feed: feed).live.utf8)) * 3 / 16_384
        try await cluster.primaries[pointer].kill()
        // As its job would be, what fails is done again.
        var failures = 0
        while true {
            do {
                try await write(2, of: 2000, to: cache)
                try await cache.flip(from: 1, to: 2, token: 2, .publish)
                break
            } catch {
                guard case .unreachable = error as? CacheError else { throw error }
                failures += 1
                try #require(failures < 200, "\(error)")
                try await Task.sleep(for: .milliseconds(100))
            }
        }
        #expect(failures > 0)
        #expect(try await cluster.replicas[pointer].role() == "master")
        try await check(reader, 0..<2000)
        let lists = try await cache.lists((0..<2000).map { Array("u\($0)".utf8) }, release: 2).lists
        #expect(lists.allSatisfy { $0?.first?.id == "2" })
        // The release of before, which its readers may still have, is whole as well.
        let before = try await cache.lists((0..<2000).map { Array("u\($0)".utf8) }, release: 1)
            .lists
        #expect(before.allSatisfy { $0?.first?.id == "1" })
    }

    @Test func `what no replica takes is not taken for written`() async throws {
        let cluster = try await OwnCluster()
        let cache = FeedCache(feed, on: RedisClient(try cluster.address, timeout: .seconds(2)))
        cluster.replicas[1].signal(SIGSTOP)
        defer { cluster.replicas[1].signal(SIGCONT) }
        let error = await #expect(throws: CacheError.self) {
            try await write(2, of: 1000, to: cache)
        }
        #expect("\(error as Any)".contains("no replica of 127.0.0.1:"), "\(error as Any)")
    }

    private func lists(_ ids: some Sequence<Int>, _ release: Int, in cache: FeedCache) async throws
        -> Int
    {
        let ids = ids.map { Array("u\($0)".utf8) }
        return try await cache.lists(ids, release: release).lists.count {
            $0?.first?.id == "\(release)"
        }
    }

    @Test func `a connection that breaks fails those who wrote on it, and nobody after them`()
        async throws
    {
        let cluster = try await OwnCluster()
        let client = RedisClient(try cluster.address)
        let cache = FeedCache(feed, on: client)
        let list = ListEncoder(.json, ids: ["1"]).encode([0], scores: [1])
        func batch() -> ListBatch {
            var batch = cache.batch(release: 1, expire: .seconds(600))
            for id in 0..<100 { batch.append("u\(id)".utf8, list) }
            return batch
        }
        let (_, written) = try await client.pipeline(batch().commands)
        try await client.awaitReplicas(of: written)
        for server in cluster.primaries {
            try await server.command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
        }
        // One is told, and another wrote in the meantime.
        await #expect(throws: CacheError.self) { try await client.pipeline(batch().commands) }
        let (_, later) = try await client.pipeline(batch().commands)
        let error = await #expect(throws: CacheError.self) {
            try await client.awaitReplicas(of: written)
        }
        #expect("\(error as Any)".contains("broke while something was written"))
        try await client.awaitReplicas(of: later)
    }

    @Test func `a primary that becomes a replica without a word is noticed`() async throws {
        let cluster = try await OwnCluster()
        let client = RedisClient(try cluster.address)
        let cache = FeedCache(feed, on: client)
        try await write(1, of: 100, to: cache)
        let list = ListEncoder(.json, ids: ["2"]).encode([0], scores: [1])
        var batch = cache.batch(release: 2, expire: .seconds(600))
        for id in 0..<100 { batch.append("u\(id)".utf8, list) }
        let (_, written) = try await client.pipeline(batch.commands)
        try await cluster.replicas[0].command("CLUSTER", "FAILOVER", "TAKEOVER")
        try await waitUntil("the primary is one no more") {
            try await cluster.primaries[0].role() == "slave"
        }
        let error = await #expect(throws: CacheError.self) {
            try await client.awaitReplicas(of: written)
        }
        #expect("\(error as Any)".contains("became a replica"), "\(error as Any)")
        try await write(2, of: 100, to: cache)
        #expect(try await lists(0..<100, 2, in: cache) == 100)
    }

    @Test func `a server that hangs does not hide the others`() async throws {
        let cluster = try await OwnCluster()
        let address = try RedisAddress(cluster.url(of: cluster.primaries[...]))
        try await write(1, of: 100, to: FeedCache(feed, on: RedisClient(address)))
        let cache = FeedCache(feed, on: RedisClient(address, timeout: .seconds(1)))
        #expect(try await lists(0..<100, 1, in: cache) == 100)
        cluster.primaries[0].signal(SIGSTOP)
        defer { cluster.primaries[0].signal(SIGCONT) }
        try await waitUntil("its replica has its place") {
            (try? await lists(0..<100, 1, in: cache)) == 100
        }
        let another = FeedCache(feed, on: RedisClient(address, timeout: .seconds(1)))
        #expect(try await lists(0..<100, 1, in: another) == 100)
    }

    /// Which of three primaries has what is read beside each list.
    private var needed: Set<Int> {
        let keys = CacheKeys(feed: feed)
        return Set(
            [keys.live, keys.meta(1), ListKeys(keys, release: 1, .keys).defaultList].map {
                HashSlot.of(ArraySlice($0.utf8)) * 3 / 16_384
            }
        )
    }

    @Test func `who lost a server answers for the others`() async throws {
        var tests = self
        while tests.needed.count == 3 { tests.feed = TestServers.uniqueFeed() }
        let lost = try #require((0..<3).first { !tests.needed.contains($0) })
        try await tests.answer(without: lost)
    }

    private func answer(without lost: Int) async throws {
        let cluster = try await OwnCluster(arguments: ["--cluster-require-full-coverage", "no"])
        let client = RedisClient(try RedisAddress(cluster.url(of: cluster.primaries[...])))
        let cache = FeedCache(feed, on: client)
        try await write(1, of: 300, to: cache)
        try await cache.flip(from: nil, to: 1, token: 1, .publish)
        let reader = FeedReader(client)
        try await check(reader, 0..<300)
        try await cluster.replicas[lost].kill()
        try await cluster.primaries[lost].kill()
        let questions = (0..<300).map { FeedReader.Question(feed: feed, id: "u\($0)") }
        let answers = try await reader.lookup(questions)
        let found = answers.count { (try? $0.get())?.source == .list }
        let failed = answers.count { if case .failure(.unreachable) = $0 { true } else { false } }
        #expect(found + failed == 300 && found > 150 && failed > 50, "\(found) \(failed)")
    }

    @Test func `of one primary and its replica one address is enough`() async throws {
        let cluster = try await OwnCluster(1)
        let cache = FeedCache(feed, on: RedisClient(try cluster.address))
        // A cluster names a replica only once it has something.
        try await waitUntil("the replica is named") {
            try await write(1, of: 100, to: cache)
            return try await cluster.primaries[0].namesReplica()
        }
        try await write(1, of: 100, to: cache)
        // A majority of one cannot agree on a successor: an operator names it.
        try await cluster.primaries[0].kill()
        try await cluster.replicas[0].command("CLUSTER", "FAILOVER", "TAKEOVER")
        try await waitUntil("the replica is asked") {
            (try? await lists(0..<100, 1, in: cache)) == 100
        }
    }

    @Test func `a whole run, from the command line`() async throws {
        let cluster = try await OwnCluster()
        let files = try CommandFeed()
        let pipeline = try files.pipeline(feed: feed)
        for server in cluster.primaries + cluster.replicas {
            for user in try RedisUser.documented() {
                try await RedisClient(server.address).command(user)
            }
        }
        let address = try RedisAddress(cluster.url(of: cluster.primaries[...]))
        try await files.with(redis: RedisUser.writer.url(at: address)) { writer in
            let worker = try await writer.start("worker")
            defer { worker.kill() }
            for _ in 1...2 {
                let result = try await writer.run("run", pipeline, "--force", "all", "--follow")
                try #require(result.status == 0, "\(result)")
            }
            let reader = Larder(
                database: writer.database,
                redis: RedisUser.reader.url(at: address),
                home: writer.home
            )
            let lookup = try await reader.run("lookup", feed, "u1")
            #expect(lookup.status == 0 && lookup.output.contains("release 2"), "\(lookup)")
            for command in [["hide", feed, "i3"], ["rollback", feed]] {
                let done = try await writer.run(command)
                #expect(done.status == 0, "\(command) \(done)")
            }
            let after = try await reader.run("lookup", feed, "u1")
            #expect(after.output.contains("release 1"), "\(after)")
        }
    }
}
