// SPDX-License-Identifier: Apache-2.0
import Glibc
import Subprocess
import TestSupport
import Testing

@testable import CacheWriter

/// A primary with a replica, and a Sentinel that has one take the other's place.
@Suite(.timeLimit(Effort.limit)) struct SentinelTests {
    private let folder: TemporaryFolder
    private let feed = TestServers.uniqueFeed()

    init() throws { folder = try TemporaryFolder() }

    private func sentinel(of primary: OwnRedis) async throws -> (BackgroundProcess, UInt16) {
        let port = try freePort()
        let file = try folder.write(
            """
            port \(port)
            bind 127.0.0.1
            dir \(folder.path)
            sentinel monitor the-primary 127.0.0.1 \(primary.port) 1
            sentinel down-after-milliseconds the-primary 500
            sentinel failover-timeout the-primary 3000
            """,
            to: "sentinel.conf"
        )
        let process = try await BackgroundProcess(.name("redis-server"), [file, "--sentinel"])
        let client = RedisClient(try RedisAddress("redis://127.0.0.1:\(port)"))
        try await waitUntil("the Sentinel knows the replica") {
            let found = try? await client.command("SENTINEL", "REPLICAS", "the-primary")
            guard case .array(let replicas) = found else { return false }
            return replicas.count == 1
        }
        return (process, port)
    }

    private func write(_ release: Int, _ cache: FeedCache) async throws {
        let list = ListEncoder(.json, ids: ["\(release)"]).encode([0], scores: [1])
        var isWritten = false
        _ = try await cache.write {
            if isWritten { return nil }
            isWritten = true
            var batch = cache.batch(release: release, expire: .seconds(600))
            for id in 0..<1000 { batch.append("u\(id)".utf8, list) }
            return batch
        }
        let meta = FeedCache.Meta(
            format: .json,
            k: 1,
            spare: 0,
            listsFor: "users",
            count: 1000,
            dataset: "d",
            model: "m",
            created: "now"
        )
        try await cache.writeHead(list, meta, release: release, expire: .seconds(600))
    }

    @Test func `a rollback that no replica takes is told, and is one`() async throws {
        let primary = try await OwnRedis(port: freePort())
        let replica = try await OwnRedis(
            port: freePort(),
            arguments: ["--replicaof", "127.0.0.1 \(primary.port)"]
        )
        try await waitUntil("the replica copies") { try await primary.replicaCount() == 1 }
        let files = try CommandFeed()
        let pipeline = try files.pipeline(feed: feed, model: "{ kind: popularity }")
        try await files.with(redis: "redis://127.0.0.1:\(primary.port)") { larder in
            let worker = try await larder.start("worker")
            defer { worker.kill() }
            for _ in 1...2 {
                let run = try await larder.run("run", pipeline, "--force", "all", "--follow")
                try #require(run.status == 0, "\(run)")
            }
            replica.signal(SIGSTOP)
            defer { replica.signal(SIGCONT) }
            let back = try await larder.run("rollback", feed)
            #expect(back.status == 69 && back.errors.contains("no replica of 127.0.0.1"), "\(back)")
            #expect(back.errors.contains("release 1 of \"\(feed)\" is live all the same"))
            let releases = try await larder.run("releases", feed)
            #expect(releases.output.contains(/1 .*live/), "\(releases)")
        }
    }

    @Test func `the primary is who the Sentinel says it is`() async throws {
        let primary = try await OwnRedis(port: freePort())
        let replica = try await OwnRedis(
            port: freePort(),
            arguments: ["--replicaof", "127.0.0.1 \(primary.port)"]
        )
        let (process, port) = try await sentinel(of: primary)
        defer { process.signal(9) }
        // The first does not answer.
        let servers = "127.0.0.1:1,127.0.0.1:\(port)"
        let address = try RedisAddress("redis+sentinel://\(servers)/the-primary")
        let cache = FeedCache(feed, on: RedisClient(address))
        try await waitUntil("the replica copies") { try await primary.replicaCount() == 1 }
        try await write(1, cache)
        try await cache.flip(from: nil, to: 1, token: 1, .publish)
        let reader = FeedReader(RedisClient(address, timeout: .seconds(2)))
        #expect(try await reader.lookup(.init(feed: feed, id: "u7"))?.release == 1)

        try await primary.kill()
        var failures = 0
        try await waitUntil("the replica has its place") {
            do {
                try await write(2, cache)
                try await cache.flip(from: 1, to: 2, token: 2, .publish)
                return true
            } catch {
                guard case .unreachable = error as? CacheError else { throw error }
                failures += 1
                return false
            }
        }
        #expect(failures > 0)
        #expect(try await replica.role() == "master")
        let found = try await reader.lookup(.init(feed: feed, id: "u7"))
        #expect(found?.release == 2 && found?.source == .list)
        let before = try await cache.lists([Array("u7".utf8)], release: 1).lists
        #expect(before.first??.first?.id == "1")

        let other = RedisClient(try RedisAddress("redis+sentinel://\(servers)/another"))
        let error = await #expect(throws: CacheError.self) { try await other.ping() }
        #expect("\(error as Any)".contains("knows no primary"), "\(error as Any)")
    }
}
