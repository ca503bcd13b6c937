// SPDX-License-Identifier: Apache-2.0
import CacheWriter
import Foundation
import TestSupport
import Testing

/// `larder serve` while what it stands on fails, and callers misbehave.
@Suite(.timeLimit(Effort.limit)) struct ServeFaultTests {
    private let feed: ServedFeed

    init() throws { feed = try ServedFeed() }

    @Test func `a Redis that is gone, empty or silent is 503 and back by itself`() async throws {
        let server = try await OwnRedis()
        _ = try await feed.write(1...1, to: RedisClient(server.address))
        try await feed.with(redis: server.url) { served, _ in
            let here = "/v1/feeds/\(feed.name)/u1"
            #expect(try await served.get(here).status == 200)
            try await server.kill()
            for _ in 1...3 {
                let found = try await served.get(here)
                #expect(found.status == 503 && found.headers["retry-after"] == "1")
                #expect(
                    (found.json["error"] as? String)?.contains("Redis cannot be reached") == true
                )
            }
            #expect(try await served.get("/readyz").status == 503)
            #expect(try await served.get("/healthz").status == 200)
            #expect(try await served.get("/metrics").body.contains("larder_redis_up 0\n"))
            try await server.start()
            try await waitUntil("the server notices") { try await served.get(here).status == 404 }
            _ = try await feed.write(1...1, to: RedisClient(server.address))
            #expect(try await served.get(here).status == 200)
            // A release that has lost its description, and a list that is none.
            try await server.command("SET", "rec:\(feed.name):1:u1", "garbage")
            #expect(try await served.get(here).status == 503)
            #expect(try await served.get("/v1/feeds/\(feed.name)/u2").status == 200)
            // In a batch the others have their answers.
            let batch = try await served.get(
                "/v1/feeds/\(feed.name)",
                "-d",
                #"{"ids": ["u2", "u1"]}"#
            )
            let answers = try #require(batch.json["answers"] as? [[String: Any]])
            #expect(answers.map { $0["id"] as? String } == ["u2", "u1"])
            #expect(answers[0]["source"] as? String == "list")
            #expect((answers[1]["error"] as? String)?.contains("u1") == true, "\(answers)")
            let alone = try await served.get("/v1/feeds/\(feed.name)", "-d", #"{"ids": ["u1"]}"#)
            #expect(alone.status == 503)
            server.signal(SIGSTOP)
            #expect(
                try await served.get(here).json["error"] as? String
                    == "Redis cannot be reached: no reply within the time limit"
            )
            server.signal(SIGCONT)
            try await waitUntil("the server notices") {
                try await served.get("/v1/feeds/\(feed.name)/u2").status == 200
            }
        }
    }

    @Test func `lookups need no Postgres`() async throws {
        _ = try await feed.write(1...1, to: RedisClient(TestServers.redis))
        try await feed.with(database: "host=127.0.0.1 port=1 user=x") { served, _ in
            #expect(try await served.get("/v1/feeds/\(feed.name)/u1").status == 200)
            let metrics = try await served.get("/metrics").body
            #expect(metrics.contains("larder_postgres_up 0\n"))
            #expect(
                metrics.contains("larder_lookups_total{feed=\"\(feed.name)\",source=\"list\"} 1\n")
            )
        }
    }

    @Test func `metrics do not wait for a Postgres that hangs`() async throws {
        _ = try await feed.write(1...1, to: RedisClient(TestServers.redis))
        try await OwnPostgres.with { own in
            let proxy = try PostgresProxy(to: own.socket)
            defer { proxy.close() }
            let database = "host=\(proxy.host) user=larder dbname=postgres"
            try await feed.with(database: database) { served, _ in
                #expect(try await served.get("/v1/feeds/\(feed.name)/u1").status == 200)
                #expect(try await served.get("/metrics").body.contains("larder_postgres_up 1\n"))
                proxy.fault = .blackHole
                // Less than Prometheus waits; curl gives up where it is more.
                let metrics = try await served.get("/metrics", "--max-time", "10").body
                #expect(metrics.contains("larder_postgres_up 0\n"))
                #expect(metrics.contains("larder_redis_up 1\n"))
            }
        }
    }

    @Test func `no request is lost while releases change and one of two servers stops`()
        async throws
    {
        let client = RedisClient(try TestServers.redis)
        let cache = try await feed.write(1...3, to: client)
        try await feed.with { served, larder in
            let second = try await Served(larder, log: feed.log)
            defer { second.process.kill() }
            async let told = Served.hammer("reads", "\(served.port),\(second.port)", feed.name, "4")
            // For as long as they are asked, however late that begins.
            let flips = Task {
                var token = 1
                while !Task.isCancelled {
                    token += 1
                    try await cache.flip(
                        from: (token - 2) % 3 + 1,
                        to: (token - 1) % 3 + 1,
                        token: token,
                        .rollback
                    )
                    try? await Task.sleep(for: .milliseconds(40))
                }
            }
            try await Task.sleep(for: .milliseconds(1500))
            #expect(try await second.process.terminate() == 0)
            let found = try await told
            flips.cancel()
            try await flips.value
            #expect(found["lost"] as? Int == 0, "\(found)")
            let answers = try #require(found["answers"] as? Int)
            #expect(answers > 100)
            #expect(found["statuses"] as? [String: Int] == ["200": answers])
            // A list is of the release that the answer names.
            let releases = try #require(found["releases"] as? [String: Int])
            #expect(releases.count > 1 && Set(releases.keys).isSubset(of: ["1 1", "2 2", "3 3"]))
        }
    }

    @Test func `thousands of silent and slow connections, and garbage, leave others served`()
        async throws
    {
        _ = try await feed.write(1...1, to: RedisClient(TestServers.redis))
        try await feed.with { served, _ in
            // A debug build is slow to accept them.
            let count = Effort.isLong ? 10_000 : 2000
            let crowd = try await Served.hammer("crowd", "\(served.port)", feed.name, "\(count)")
            #expect(crowd["held"] as? Int == count, "\(crowd)")
            #expect(crowd["statuses"] as? [Int] == [Int](repeating: 200, count: 20))
            let garbage = try await Served.hammer("garbage", "\(served.port)", feed.name)
            let told = try #require(garbage["told"] as? [String])
            // Refused, or cut off: nothing of it is answered as if it were a request.
            #expect(told.allSatisfy { !$0.contains(" 200") && !$0.contains(" 500") }, "\(told)")
            #expect(garbage["status"] as? Int == 200)
            #expect(served.process.isRunning)
        }
    }
}
