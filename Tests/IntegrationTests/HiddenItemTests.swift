// SPDX-License-Identifier: Apache-2.0
import CacheWriter
import Foundation
import Postgres
import TestSupport
import Testing

/// `larder hide` and `unhide`, from the command to what a reader gets.
@Suite(.timeLimit(Effort.limit)) struct HiddenItemTests {
    private let files: CommandFeed

    init() throws { files = try CommandFeed() }

    private struct Answer: Decodable {
        struct Entry: Decodable { let id: String }
        let release: Int
        let entries: [Entry]

        var ids: [String] { entries.map(\.id) }
    }

    private func lookup(_ feed: String, _ id: String, _ larder: Larder) async throws -> Answer {
        let found = try await larder.run("lookup", feed, id, "--json")
        return try JSONDecoder().decode(Answer.self, from: Data(found.output.utf8))
    }

    @Test func `a hidden item is gone from lists at once and from the next release`() async throws {
        try await files.with { larder in
            let feed = TestServers.uniqueFeed()
            let worker = try await larder.start("worker")
            defer { worker.kill() }
            let file = try files.pipeline(
                feed: feed,
                predict: "{ for: users, k: 5, spare: 2, exclude: nothing }",
                model: "{ kind: popularity }"
            )
            #expect(try await larder.run("hide", feed, "i1").status == 64)
            #expect(try await larder.run("run", file, "--follow").status == 0)
            let before = try await lookup(feed, "u1", larder).ids
            #expect(before.count == 5)

            let hidden = try await larder.run("hide", feed, before[0], before[3], "no-such-item")
            #expect(hidden.output == "3 items of \"\(feed)\" are hidden\n")
            #expect(hidden.errors.contains("has \"no-such-item\""), "\(hidden)")
            for id in ["u1", "nobody"] {
                let now = try await lookup(feed, id, larder).ids
                // Two of the list's own took their places.
                #expect(now.count == 5)
                #expect(Array(now.prefix(3)) == [before[1], before[2], before[4]])
            }

            #expect(try await larder.run("run", file, "--follow").status == 0)
            let made = try await lookup(feed, "u1", larder)
            #expect(made.release == 2 && made.ids.count == 5 && !made.ids.contains(before[0]))
            // Not in the list itself either, which has two to spare again.
            #expect(
                try await larder.run("unhide", feed, before[0], "i99").errors.contains("\"i99\"")
            )
            #expect(try await lookup(feed, "u1", larder).ids == made.ids)
            let listed = try await larder.run("hide", feed).output
            #expect(listed.contains(before[3]) && !listed.contains(before[0] + " "))
            let why = try await larder.run("why", feed, "u1", before[0])
            #expect(why.output.contains("it was hidden when the list was made"), "\(why)")
            #expect(!why.output.contains("answers otherwise"))
            let now = try await larder.run("why", feed, "u1", before[3])
            #expect(now.output.contains("it is hidden"), "\(now)")

            // The lists of release 1 were made before: they show it again.
            #expect(try await larder.run("rollback", feed).status == 0)
            let old = try await lookup(feed, "u1", larder).ids
            #expect(old.first == before[0] && !old.contains(before[3]))
        }
    }

    @Test func `a Redis that was emptied is told anew what is hidden`() async throws {
        let server = try await OwnRedis()
        try await files.with(redis: server.url) { larder in
            let feed = TestServers.uniqueFeed()
            let worker = try await larder.start("worker")
            defer { worker.kill() }
            let file = try files.pipeline(
                feed: feed,
                predict: "{ for: users, k: 20, exclude: nothing }",
                model: "{ kind: popularity }"
            )
            #expect(try await larder.run("run", file, "--follow").status == 0)
            let first = try await lookup(feed, "u1", larder).ids[0]
            #expect(try await larder.run("hide", feed, first).status == 0)
            try await server.command("FLUSHALL")
            #expect(try await larder.run("run", file, "--follow").status == 0)
            let members = "{rec:\(feed):live}:hidden"
            #expect(
                try await server.ask("SMEMBERS", members) == .array([.bytes(Array(first.utf8))])
            )
            // What a Postgres says that was restored from an older backup is newer all the same.
            let client = Client(ConnectionSettings(larder.database))
            try await client.execute(
                "UPDATE larder.feeds SET rules_version = 0"
            )
            try await client.execute("DELETE FROM larder.hidden_items")
            #expect(try await larder.run("hide", feed, "i19").status == 0)
            #expect(
                try await server.ask("SMEMBERS", members) == .array([.bytes(Array("i19".utf8))])
            )
        }
    }
}
