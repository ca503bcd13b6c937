// SPDX-License-Identifier: Apache-2.0
import CacheWriter
import Foundation
import TestSupport
import Testing

/// A Redis that lets its users do what docs/cache.md says they need, and no more.
@Suite(.timeLimit(Effort.limit)) struct RedisAccessTests {
    private let files: CommandFeed

    init() throws { files = try CommandFeed() }

    private func larder(_ larder: Larder, _ server: OwnRedis, as user: RedisUser) -> Larder {
        let url = user.url(at: server.address)
        var other = Larder(database: larder.database, redis: url, home: larder.home)
        other.log = larder.log
        return other
    }

    @Test func `a writer publishes, a reader reads, and neither does the other's work`()
        async throws
    {
        let server = try await OwnRedis()
        for words in try RedisUser.documented() {
            try await RedisClient(server.address).command(words)
        }
        // Who gives no name may do nothing.
        _ = try await server.ask("ACL", "SETUSER", "default", "-@all")
        try await files.with(redis: server.url) { plain in
            let feed = TestServers.uniqueFeed()
            let file = try files.pipeline(
                feed: feed,
                model: "{ kind: popularity }",
                publish: "{ expire: 1h, rate: 1000 }"
            )
            let (writer, reader) = (
                larder(plain, server, as: .writer),
                larder(plain, server, as: .reader)
            )
            let worker = try await writer.start("worker")
            defer { worker.kill() }
            for _ in 1...3 {
                let run = try await writer.run("run", file, "--follow")
                #expect(run.status == 0, "\(run)")
            }
            for command in [
                ["hide", feed, "i3"], ["split", feed, "A=2:1", "B=live:1"],
                ["split", feed, "--promote", "A"], ["rollback", feed, "3"], ["releases", feed],
                ["why", feed, "u1"], ["export", feed, files.folder.path + "/vectors.txt"],
            ] {
                let done = try await writer.run(command)
                #expect(!done.errors.contains("NOPERM"), "\(command) \(done)")
            }
            #expect(try await writer.run("lookup", feed, "u1").status == 0)

            #expect(try await reader.run("lookup", feed, "u1").status == 0)
            var logged = reader
            logged.log = files.folder.path + "/serve.log"
            let served = try await Served(logged, log: files.folder.path + "/serve.log")
            defer { served.process.kill() }
            #expect(try await served.get("/v1/feeds/\(feed)/u1").status == 200)
            #expect(try await served.get("/readyz").status == 200)
            let client = RedisClient(try RedisAddress(reader.redis))
            let answer = try await client.command(
                "FCALL_RO",
                "rec_get",
                "1",
                "rec:\(feed):live",
                "u1"
            )
            guard case .array(let parts) = answer else {
                Issue.record("\(answer) is no answer")
                return
            }
            #expect(parts.first?.text == "3" && parts.count == 5)
            for refused in [
                ["SET", "rec:\(feed):live", "1"], ["HSET", "{rec:\(feed):live}:head", "a", "b"],
                ["GET", "other"], ["KEYS", "*"], ["FLUSHALL"],
            ] {
                let error = await #expect(throws: CacheError.self, "\(refused)") {
                    try await client.command(refused)
                }
                #expect(error?.description.contains("NOPERM") == true)
            }
            let told = try await reader.run("hide", feed, "i4")
            #expect(told.status == 1, "\(told)")
            #expect(told.errors.contains("what Redis' user must be allowed"), "\(told)")
            let nobody = try await plain.run("lookup", feed, "u1")
            #expect(nobody.errors.contains("NOPERM") || nobody.errors.contains("NOAUTH"))
        }
    }

    @Test(arguments: [
        ("rediss://cache:6379", "which Larder does not speak"),
        ("cache:6379", "the Redis URL cannot be read"),
    ])
    func `an address that cannot be used says so`(_ url: String, _ words: String) async throws {
        try await files.with { larder in
            let told = try await Larder(database: larder.database, redis: url, home: larder.home)
                .run("lookup", "for-you", "u1")
            #expect(told.status == 64 && told.errors.contains(words), "\(told)")
        }
    }
}
