// SPDX-License-Identifier: Apache-2.0
import CacheWriter
import Foundation
import Subprocess
import TestSupport
import Testing

/// Releases whose lists share hashes.
@Suite(.timeLimit(Effort.limit)) struct CompactTests {
    private let files: CommandFeed
    private let feed = TestServers.uniqueFeed()

    init() throws { files = try CommandFeed() }

    private func keys(_ server: OwnRedis, of release: Int) async throws -> [String] {
        guard case .array(let keys) = try await server.ask("KEYS", "rec:\(feed):\(release):*")
        else {
            return []
        }
        return keys.compactMap(\.text).sorted()
    }

    @Test func `lists of a compact release are written, read, copied and collected`() async throws {
        let server = try await OwnRedis()
        let users = 200
        let events = try files.pipeline(
            feed: feed,
            events: "user,item,time\n"
                + (0..<users * 4).map { "u\($0 % users),i\($0 * 7 % 41),\($0)\n" }.joined(),
            model: "{ kind: popularity }",
            publish: "{ expire: 1h, compact: true }"
        )
        try await files.with(redis: server.url) { larder in
            let worker = try await larder.start("worker")
            defer { worker.kill() }
            func run() async throws -> Larder.Result {
                let result = try await larder.run("run", events, "--force", "all", "--follow")
                try #require(result.status == 0, "\(result)")
                return result
            }
            #expect(try await !run().output.contains("hash-max-listpack-value"))
            let buckets = try await keys(server, of: 1).filter { $0.contains(":_b:") }
            #expect((2...users / 16).contains(buckets.count))
            for bucket in buckets {
                #expect(try await server.ask("OBJECT", "ENCODING", bucket).text == "listpack")
                let seconds = try await server.ask("TTL", bucket).number ?? 0
                #expect((3000...3600).contains(seconds))
            }
            var fields = 0
            for bucket in buckets { fields += try await server.ask("HLEN", bucket).number ?? 0 }
            #expect(fields == users)
            let before = try await larder.run("lookup", feed, "u7", "--json")
            #expect(before.output.contains(#""source":"list""#), "\(before)")
            #expect(before.output.contains(":1:_b:"), "\(before)")

            let elsewhere = try await OwnRedis()
            let copy = files.folder.path + "/copy.resp"
            let exported = try await larder.run("export", feed, copy, "--format", "resp")
            #expect(exported.status == 0 && exported.output.contains("200"), "\(exported)")
            let piped = try await Subprocess.run(
                .name("sh"),
                arguments: [
                    "-c", "redis-cli -s '\(elsewhere.address.socket ?? "")' --pipe < \(copy)",
                ],
                output: .discarded
            )
            #expect(piped.terminationStatus.isSuccess)
            var other = Larder(database: larder.database, redis: elsewhere.url, home: larder.home)
            other.log = larder.log
            let copied = try await other.run("lookup", feed, "u7", "--json")
            #expect(copied.output == before.output)

            _ = try await run()
            try await server.command("CONFIG", "SET", "hash-max-listpack-value", "8")
            #expect(try await run().output.contains("hash-max-listpack-value"))
            try await waitUntil("release 1 is collected") {
                try await keys(server, of: 1).isEmpty
            }
            #expect(try await keys(server, of: 2).count == buckets.count + 2)
        }
    }
}
