// SPDX-License-Identifier: Apache-2.0
import CacheWriter
import Foundation
import TestSupport
import Testing

/// Many callers on one connection to Redis.
@Suite(.timeLimit(Effort.limit)) struct LookupQueueTests {
    private let feed: ServedFeed

    init() throws { feed = try ServedFeed() }

    @Test func `each of many callers at once gets the answers to its own questions`() async throws {
        let client = RedisClient(try TestServers.redis)
        _ = try await feed.write(1...1, to: client)
        let queue = LookupQueue(FeedReader(client))
        // More questions than a round trip takes, one to nine a caller.
        let asked = (0..<500).map { caller in
            (0...caller % 9).map { "u\((caller + $0) % 20)" }
        }
        try await withThrowingTaskGroup(of: (Int, [Lookup?]).self) { group in
            for (caller, ids) in asked.enumerated() {
                group.addTask {
                    let answers = try await queue.lookup(
                        ids.map { FeedReader.Question(feed: feed.name, id: $0) }
                    )
                    return (caller, try answers.map { try $0.get() })
                }
            }
            for try await (caller, lookups) in group {
                let found = lookups.map { $0?.entries.map(\.id).prefix(2).last }
                let expected = asked[caller].map { id in
                    let number = Int(id.dropFirst()) ?? 0
                    return number < 16 ? "i\(number % 9 + 1)" : "i5"
                }
                #expect(found == expected)
            }
        }
    }

    @Test func `a batch reads what all fall back to once`() async throws {
        let server = try await OwnRedis()
        let client = RedisClient(server.address)
        _ = try await feed.write(1...1, to: client)
        let reader = FeedReader(client)
        let questions = (0..<100).map { FeedReader.Question(feed: feed.name, id: "u\($0 % 90)") }
        _ = try await reader.lookup(questions)
        try await server.command("CONFIG", "RESETSTAT")
        let answers = try await reader.lookup(questions)
        #expect(try answers.count { try $0.get()?.source == .list } == 26)
        #expect(try answers.count { try $0.get()?.source == .default } == 74)
        // The pointer, 90 ids and the default list.
        let calls = try await server.ask("INFO", "commandstats").text ?? ""
        #expect(calls.contains("cmdstat_get:calls=92,"), "\(calls)")
    }

    @Test func `while Redis is silent one caller waits for it, and the others are told`()
        async throws
    {
        let server = try await OwnRedis()
        let client = RedisClient(server.address, timeout: .seconds(1))
        _ = try await feed.write(1...1, to: client)
        let queue = LookupQueue(FeedReader(client))
        let question = FeedReader.Question(feed: feed.name, id: "u1")
        #expect(try await queue.lookup([question])[0].get()?.source == .list)
        server.signal(SIGSTOP)
        let began = ContinuousClock.now
        await withTaskGroup(of: CacheError?.self) { group in
            for _ in 0..<100 {
                group.addTask {
                    do throws(CacheError) {
                        _ = try await queue.lookup([question])
                        return nil
                    } catch {
                        return error
                    }
                }
            }
            for await error in group {
                #expect("\(String(describing: error))".contains("no reply within the time limit"))
            }
        }
        // One after the other they would wait for 100 s.
        #expect(ContinuousClock.now - began < .seconds(20))
        server.signal(SIGCONT)
        try await waitUntil("it is asked again") {
            (try? await queue.lookup([question])[0].get()?.source) == .list
        }
    }
}
