// SPDX-License-Identifier: Apache-2.0
import TestSupport
import Testing

@testable import CacheWriter

/// With a Redis of its own, because it is filled up and killed.
@Suite(.serialized, .timeLimit(Effort.limit)) struct FailingRedisTests {
    private func lists(_ count: Int) -> [FeedCache.List] {
        let bytes = [UInt8](repeating: UInt8(ascii: "x"), count: 1000)
        return (0..<count).map { FeedCache.List(id: ArraySlice("u\($0)".utf8), bytes: bytes) }
    }

    @Test func `out of memory in the middle of a window is an error with the cure`() async throws {
        let server = try await OwnRedis(arguments: [
            "--maxmemory", "3mb", "--maxmemory-policy", "noeviction",
        ])
        let cache = FeedCache("f", on: RedisClient(server.address))
        let error = await #expect(throws: CacheError.self) {
            _ = try await cache.write(lists(20_000), release: 1, expire: .seconds(600))
        }
        #expect(error?.description.contains("Redis is out of memory") == true)
        #expect(error?.description.contains("maxmemory") == true)
        // The connection is still in step with its replies.
        #expect(try await cache.live() == nil)
    }

    @Test func `a Redis that dies in the middle is an error, and the next try connects again`()
        async throws
    {
        let server = try await OwnRedis()
        let client = RedisClient(server.address)
        let cache = FeedCache("f", on: client)
        try await client.command("SET", "rec:f:live", "1")
        try await server.kill()
        await #expect(throws: CacheError.self) {
            _ = try await cache.write(lists(20_000), release: 1, expire: .seconds(600))
        }
        try await server.start()
        // Empty after the restart: the pointer is gone, and that is what is read.
        #expect(try await cache.live() == nil)
    }
}
