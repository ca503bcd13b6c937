// SPDX-License-Identifier: Apache-2.0
import CacheWriter
import Foundation
import Subprocess
import TestSupport
import Testing

/// `larder import` and `larder export` of lists, and back.
@Suite(.timeLimit(Effort.limit)) struct ImportTests {
    private let files: CommandFeed

    init() throws { files = try CommandFeed() }

    private struct Answer: Decodable {
        struct Entry: Decodable { let id: String }
        let release: Int
        let source: String
        let entries: [Entry]
    }

    private func lookup(_ feed: String, _ id: String, _ larder: Larder) async throws -> Answer {
        let found = try await larder.run("lookup", feed, id, "--json")
        try #require(found.status == 0, "\(found)")
        return try JSONDecoder().decode(Answer.self, from: Data(found.output.utf8))
    }

    private static let ids = ["a\"b", "c,d", "e\"\u{301}f", "_g", "日本"]

    /// By bytes: a quote may be part of a character.
    private static func quoted(_ id: String) -> String {
        let quote = UInt8(ascii: "\"")
        let bytes = id.utf8.flatMap { $0 == quote ? [quote, quote] : [$0] }
        return "\"" + String(decoding: bytes, as: UTF8.self) + "\""
    }

    /// Lists of 30 entries for 50 owners, whose best is the item of the owner's own number.
    private func table(_ better: Int = 0) -> String {
        let rows = (0..<50).flatMap { owner in
            (0..<30).map { place -> String in
                let item = (owner + place * 3 + (place > better ? 0 : better)) % 100
                return "o\(owner),\"i,\(item)\",\(Double(30 - place) / 30)"
            }
        }
        // As somebody's program may write them: in no order.
        let mixed = rows.enumerated().sorted {
            ($0.offset * 7919) % 1501 < ($1.offset * 7919) % 1501
        }
        return "owner,thing,p\n" + mixed.map(\.element).joined(separator: "\n") + "\n"
    }

    @Test func `lists of another program become releases, with gates, and come out again`()
        async throws
    {
        let elsewhere = try await OwnRedis()
        try await files.with { larder in
            let feed = TestServers.uniqueFeed()
            let worker = try await larder.start("worker")
            defer { worker.kill() }
            func imported(_ text: String, _ more: String...) async throws -> Larder.Result {
                let path = try files.folder.write(text, to: "lists.csv")
                return try await larder.run(
                    ["import", feed, path, "--id", "owner", "--item", "thing", "--score", "p"]
                        + ["-k", "10", "--follow"] + more
                )
            }
            let first = try await imported(
                table() + "o1,\"i,99\",\no2,\"i,98\",high\n",
                "--format",
                "json-scored"
            )
            #expect(first.status == 0 && first.output.contains("50 lists"), "\(first)")
            #expect(first.output.contains("p is not a number"))
            let own = try await lookup(feed, "o7", larder)
            #expect(own.entries.map(\.id) == (0..<10).map { "i,\((7 + $0 * 3) % 100)" })
            #expect(try await lookup(feed, "nobody", larder).source == "default")

            // The same feed with other lists: a gate of lists refuses, and readers keep what they have.
            let gate = "overlap-with-live@10 >= 0.95"
            let other = try await imported(table(5), "--gate", gate)
            #expect(other.status == 1 && other.output.contains("\(gate): "), "\(other)")
            #expect(try await lookup(feed, "o7", larder).release == 1)

            // Out as CSV, in as another feed: the same lists.
            let copy = TestServers.uniqueFeed()
            let csv = files.folder.path + "/out.csv"
            let out = try await larder.run("export", feed, csv, "--format", "csv")
            #expect(out.output == "50 lists written to \(csv)\n")
            let again = try await larder.run(
                "import",
                copy,
                csv,
                "--id",
                "id",
                "--score",
                "score",
                "-k",
                "10",
                "--follow"
            )
            #expect(again.status == 0, "\(again)")
            for id in ["o0", "o31", "o49"] {
                let (a, b) = (
                    try await lookup(feed, id, larder), try await lookup(copy, id, larder)
                )
                #expect(a.entries.map(\.id) == b.entries.map(\.id))
            }

            // As readers get them, whatever their ids are.
            let odd = TestServers.uniqueFeed()
            let strange = try files.folder.write(
                "user,item\n"
                    + Self.ids.flatMap { id in
                        ["x", "\"y\"\"\"", "z"].map { "\(Self.quoted(id)),\($0)\n" }
                    }
                    .joined(),
                to: "odd.csv"
            )
            let taken = try await larder.run(
                "import",
                odd,
                strange,
                "-k",
                "2",
                "--format",
                "packed",
                "--follow"
            )
            #expect(taken.status == 0, "\(taken)")
            #expect(try await larder.run("hide", odd, "x").status == 0)
            let shown = try await larder.run("export", odd, "--format", "csv").output
            let expected = Self.ids.map { id in
                (id.utf8.contains { ",\"".utf8.contains($0) } ? Self.quoted(id) : id)
                    + ",\"y\"\"\",\n"
            }
            #expect(
                Array(shown.utf8) == Array("id,item,score\n\(expected.joined())".utf8),
                "\(shown)"
            )

            // And as commands for a Redis that knows nothing of Larder.
            #expect(try await larder.run("hide", feed, "i,10").status == 0)
            let commands = files.folder.path + "/out.resp"
            let resp = try await larder.run("export", feed, commands, "--format", "resp")
            #expect(resp.output == "50 lists written to \(commands)\n")
            let piped = try await Subprocess.run(
                .name("sh"),
                arguments: [
                    "-c", "redis-cli -s '\(elsewhere.address.socket ?? "")' --pipe < \(commands)",
                ],
                output: .string(limit: 1 << 16),
                error: .string(limit: 1 << 16)
            )
            #expect(piped.standardOutput.contains("errors: 0"), "\(piped)")
            let there = Larder(database: larder.database, redis: elsewhere.url, home: larder.home)
            let mine = try await lookup(feed, "o7", there)
            #expect(mine.entries.map(\.id) == own.entries.map(\.id).filter { $0 != "i,10" })
            #expect(try await lookup(feed, "nobody", there).source == "default")
            let left = try await elsewhere.ask("TTL", "rec:\(feed):1:o7")
            #expect(left.number.map { (600_000...604_800).contains($0) } == true)
        }
    }

    @Test func `lists of items answer sessions, and are taken away with their release`()
        async throws
    {
        try await files.with { larder in
            let feed = TestServers.uniqueFeed()
            let worker = try await larder.start("worker")
            defer { worker.kill() }
            for k in 3...6 {
                let path = try files.folder.write(table(k), to: "lists.csv")
                let result = try await larder.run(
                    "import",
                    feed,
                    path,
                    "--for",
                    "items",
                    "--id",
                    "owner",
                    "--item",
                    "thing",
                    "--score",
                    "p",
                    "-k",
                    "\(k)",
                    "--follow"
                )
                #expect(result.status == 0, "\(result)")
            }
            let served = try await Served(larder, log: files.folder.path + "/serve.log")
            defer { served.process.kill() }
            let session = try await served.get("/v1/feeds/\(feed)?items=o3,o4&k=4")
            #expect(session.json["source"] as? String == "session", "\(session)")
            let redis = RedisClient(try TestServers.redis)
            #expect(try await redis.command("EXISTS", "rec:\(feed):1:o3") == .integer(0))
            #expect(try await redis.command("EXISTS", "rec:\(feed):4:o3") == .integer(1))
            let why = try await larder.run("why", feed, "o3")
            #expect(why.status == 0 && why.output.contains("a list of its own"), "\(why)")
            let again = try await larder.run("reproduce", feed)
            #expect(again.output.contains("50 of 50 lists are the same"), "\(again)")
        }
    }

    @Test func `what cannot be imported or exported is said`() async throws {
        try await files.with { larder in
            let feed = TestServers.uniqueFeed()
            let path = try files.folder.write(table(), to: "lists.csv")
            for (arguments, words) in [
                (["import", feed, path + ".xls"], "does not end in .csv"),
                (["import", "No", path, "--expire", "soon"], "error: feed is \"No\""),
                (["import", feed, path, "--format", "json-scored"], "needs model: score"),
                (["import", feed, path, "--gate", "recall@10 > 0.5"], "gates of lists are"),
                (["export", feed], "vectors need a FILE"),
                (["export", feed, "--format", "csv"], "no live release"),
            ] {
                let result = try await larder.run(arguments)
                #expect(result.status == 64 && result.errors.contains(words), "\(result)")
            }
        }
    }
}
