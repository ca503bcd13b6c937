// SPDX-License-Identifier: Apache-2.0
import CacheWriter
import Foundation
import Postgres
import TestSupport

/// A feed whose lists are known, and servers that answer for it.
struct ServedFeed {
    let folder: TemporaryFolder
    let name = TestServers.uniqueFeed()

    init() throws { folder = try TemporaryFolder() }

    /// Releases whose every list starts with the release's own number, for u0 to u15.
    func write(
        _ releases: ClosedRange<Int>,
        to client: RedisClient,
        format: ListFormat = .json,
        listsFor: String = "users"
    ) async throws -> FeedCache {
        let cache = FeedCache(name, on: client)
        for release in releases {
            let items = ["\(release)"] + (1...9).map { "i\($0)" }
            let encoder = ListEncoder(format, ids: items)
            func list(_ first: Int32) -> [UInt8] {
                encoder.encode(
                    [0, first, first % 9 + 1, (first + 1) % 9 + 1],
                    scores: [4, 3, 2.5, 1]
                )
            }
            _ = try await cache.write(
                (0..<16).map {
                    FeedCache.List(
                        id: ArraySlice("\(listsFor == "items" ? "i" : "u")\($0)".utf8),
                        bytes: list(Int32($0) % 9 + 1)
                    )
                },
                release: release,
                expire: .seconds(600)
            )
            try await cache.writeHead(
                list(5),
                FeedCache.Meta(
                    format: format,
                    k: 4,
                    spare: 0,
                    listsFor: listsFor,
                    count: 16,
                    dataset: "d",
                    model: "m",
                    created: "now"
                ),
                release: release,
                expire: .seconds(600)
            )
        }
        try await cache.flip(from: nil, to: releases.lowerBound, token: 1, .publish)
        return cache
    }

    var log: String { folder.path + "/serve-\(UUID().uuidString).log" }

    func with(
        redis: String? = nil,
        token: String? = nil,
        _ body: (Served, Larder) async throws -> Void
    ) async throws {
        try await TestServers.withDatabase { database in
            try await with(database: database.target, redis: redis, token: token, body)
        }
    }

    func with(
        database: String,
        redis: String? = nil,
        token: String? = nil,
        _ body: (Served, Larder) async throws -> Void
    ) async throws {
        let larder = Larder(
            database: database,
            redis: try redis ?? TestServers.redisURL,
            home: folder.path + "/home"
        )
        let served = try await Served(larder, log: log, token: token)
        defer { served.process.kill() }
        try await body(served, larder)
    }
}
