// SPDX-License-Identifier: Apache-2.0
import Foundation
import Subprocess
import SystemPackage
import TestSupport
import Testing

@testable import CacheWriter

/// The readers of docs/cache.md, each asked the same questions of real keys.
@Suite(.serialized, .timeLimit(Effort.limit)) struct ReaderTests {
    private var client: RedisClient
    /// The ports of a cluster, where that is asked in place of the server of all tests.
    private var cluster: [UInt16] = []
    private let prefix = TestServers.uniqueFeed()

    init() throws { client = RedisClient(try TestServers.redis) }

    // MARK: what is there to read

    /// Catalogues whose ids are written in different ways.
    private static let catalogues: [String: [String]] = [
        "small": (0..<40).map { "\($0 * 1000)" },
        "large": (0..<40).map { "\(UInt64.max - UInt64($0) * 99_999_999_999_999_999)" } + ["7"],
        "texts": (0..<40).map { ["q\"\($0)", "s/\($0)", "日本\($0)", "b\\\($0)"][$0 % 4] },
    ]
    private static let ids = ["u1", "u2", "u3", "_odd", "_default", "a b", "日本", "4:2"]

    private struct Feed {
        let name: String
        let format: ListFormat
        let items: [String]
        let layout: ListLayout
    }

    private var feeds: [Feed] {
        ListFormat.allCases.flatMap { format in
            Self.catalogues.flatMap { kind, items in
                [ListLayout.keys, .buckets(3), .inPlace].map { layout in
                    Feed(
                        name:
                            "\(prefix)-\(format.rawValue)-\(kind)\(Self.suffix(layout))",
                        format: format,
                        items: items,
                        layout: layout
                    )
                }
            }
        }
    }

    private static func suffix(_ layout: ListLayout) -> String {
        switch layout {
        case .keys: ""
        case .buckets(let count): "-\(count)"
        case .inPlace: "-in-place"
        }
    }

    /// Two releases that ids are split over, lists for segments and categories, hidden items.
    private func write(_ feed: Feed) async throws {
        let cache = FeedCache(feed.name, on: client)
        let encoder = ListEncoder(feed.format, ids: feed.items)
        func list(_ seed: Int) -> [UInt8] {
            let items = (0..<8).map { Int32((seed * 7 + $0 * 3) % 40) }
            return encoder.encode(items, scores: items.map { Float($0) / 7 - 2 })
        }
        for release in 1...2 {
            // One of the two releases has its lists under keys of their own.
            let layout = release == 2 ? feed.layout : .keys
            _ = try await cache.write(
                Self.ids.dropLast(2).enumerated().map { place, id in
                    FeedCache.List(id: ArraySlice(id.utf8), bytes: list(release * 10 + place))
                },
                release: release,
                layout: layout,
                expire: .seconds(600)
            )
            try await cache.write(
                [
                    .init(.segment, "Rome", list(release + 30)),
                    .init(.category, "Rome", list(release + 40)),
                ],
                release: release,
                layout,
                expire: .seconds(600)
            )
            try await cache.writeHead(
                list(release + 50),
                FeedCache.Meta(
                    format: feed.format,
                    k: 5,
                    spare: 3,
                    layout: layout,
                    listsFor: "users",
                    count: Self.ids.count,
                    dataset: "d",
                    model: "m",
                    created: "now"
                ),
                release: release,
                expire: .seconds(600)
            )
        }
        try await cache.flip(from: nil, to: 2, token: 1, .publish)
        try await cache.setRules(
            hidden: stride(from: 0, to: 40, by: 4).map { feed.items[$0] },
            split: Split("s A=1:3 B=live:4"),
            version: 1
        )
        try await cache.installFunction()
    }

    // MARK: what is asked

    private struct Question: Codable {
        let feed: String
        let id: String
        var k: Int?
        var segment: String?
        var category: String?
    }

    private struct Answer: Decodable, Equatable, CustomStringConvertible {
        struct Entry: Decodable, Equatable {
            let id: String
            let score: Double?

            init(_ id: String, _ score: Double?) {
                self.id = id
                self.score = score
            }

            init(from decoder: any Decoder) throws {
                if let id = try? decoder.singleValueContainer().decode(String.self) {
                    self.init(id, nil)
                } else {
                    var pair = try decoder.unkeyedContainer()
                    self.init(try pair.decode(String.self), try pair.decode(Double.self))
                }
            }
        }

        let release: Int
        let arm: String?
        let source: String
        let entries: [Entry]

        var description: String { "\(release) \(arm ?? "-") \(source) \(entries)" }
    }

    private func questions(_ feed: String) -> [Question] {
        Self.ids.flatMap { id in
            [
                Question(feed: feed, id: id), Question(feed: feed, id: id, k: 3),
                Question(feed: feed, id: id, k: 100, segment: "Rome", category: "Rome"),
                Question(feed: feed, id: id, segment: "Pisa", category: "Rome"),
                Question(feed: feed, id: id, category: "Pisa"),
            ]
        }
    }

    /// What our own reader answers.
    private func expected(_ questions: [Question]) async throws -> [Answer?] {
        let asked = questions.map {
            FeedReader.Question(
                feed: $0.feed,
                id: $0.id,
                segment: $0.segment,
                category: $0.category,
                k: $0.k
            )
        }
        return try await FeedReader(client).lookup(asked).map { found in
            try found.get().map {
                Answer(
                    release: $0.release,
                    arm: $0.arm,
                    source: $0.source.rawValue,
                    entries: $0.entries.map { Answer.Entry($0.id, $0.score) }
                )
            }
        }
    }

    private func check(_ reader: ([Question]) async throws -> [Answer?]) async throws {
        for feed in feeds { try await write(feed) }
        let questions =
            feeds.flatMap { self.questions($0.name) } + [
                Question(feed: prefix + "-nothing", id: "u1")
            ]
        let expected = try await expected(questions)
        let found = try await reader(questions)
        try #require(found.count == expected.count)
        for (question, (found, expected)) in zip(questions, zip(found, expected)) {
            #expect(found == expected, "\(question)")
        }
        // The questions are worth asking.
        let sources = Set(expected.compactMap { $0?.source })
        #expect(sources == ["list", "segment", "category", "default"])
        #expect(Set(expected.compactMap { $0?.arm }) == ["A", "B"])
        #expect(expected.last?.map(\.release) == .some(nil))
    }

    // MARK: who is asked

    private func script(
        _ program: Executable,
        _ arguments: [String],
        _ questions: [Question]
    ) async throws -> [Answer?] {
        struct Asked: Encodable {
            let socket: String
            let cluster: [UInt16]
            let questions: [Question]
        }
        let socket = try #require(try TestServers.redis.socket)
        let asked = try JSONEncoder().encode(
            Asked(socket: socket, cluster: cluster, questions: questions)
        )
        let result = try await Subprocess.run(
            program,
            arguments: Arguments(arguments),
            environment: .inherit.updating(["NODE_PATH": "/usr/share/nodejs"]),
            input: .string(String(decoding: asked, as: UTF8.self)),
            output: .string(limit: 1 << 22),
            error: .string(limit: 1 << 16)
        )
        try #require(result.terminationStatus.isSuccess, "\(result.standardError)")
        return try JSONDecoder().decode([Answer?].self, from: Data(result.standardOutput.utf8))
    }

    @Test func `Python reads every format`() async throws {
        try await check { try await script(.path(".tools/bin/python"), ["Tests/readers.py"], $0) }
    }

    @Test func `Node reads every format`() async throws {
        try await check { try await script(.name("node"), ["Tests/readers.js"], $0) }
    }

    @Test func `Python and Node read from a cluster`() async throws {
        let cluster = try await OwnCluster()
        var tests = self
        tests.client = RedisClient(try cluster.address)
        tests.cluster = cluster.primaries.map(\.port)
        try await tests.check { [tests] in
            try await tests.script(.path(".tools/bin/python"), ["Tests/readers.py"], $0)
        }
        try await tests.check { [tests] in
            try await tests.script(.name("node"), ["Tests/readers.js"], $0)
        }
    }

    @Test func `the function answers in one round trip`() async throws {
        let client = client
        try await check { questions in
            var answers: [Answer?] = []
            for question in questions {
                let reply = try await client.command(
                    "FCALL_RO",
                    "rec_get",
                    "1",
                    "rec:\(question.feed):live",
                    question.id,
                    question.k.map { "\($0)" } ?? "",
                    question.segment ?? "",
                    question.category ?? ""
                )
                guard case .array(let parts) = reply else {
                    answers.append(nil)
                    continue
                }
                guard case .bytes(let list) = parts[4] else { throw TestServers.Missing() }
                let format = try #require(parts[3].text.flatMap { ListFormat(rawValue: $0) })
                let arm = parts[1].text ?? ""
                answers.append(
                    Answer(
                        release: parts[0].text.flatMap { Int($0) } ?? 0,
                        arm: arm.isEmpty ? nil : arm,
                        source: parts[2].text ?? "",
                        entries: try #require(format.decode(list)).map {
                            Answer.Entry($0.id, $0.score)
                        }
                    )
                )
            }
            return answers
        }
    }

    @Test func `without functions it is a script`() async throws {
        let feed = try #require(feeds.first)
        try await write(feed)
        let lines = try String(
            contentsOfFile: "Sources/CacheWriter/Functions/rec_get.lua",
            encoding: .utf8
        )
        .split(separator: "\n", omittingEmptySubsequences: false)
        let last = try #require(lines.lastIndex { $0.hasPrefix("redis.register_function") })
        let script = lines[1..<last].joined(separator: "\n") + "\nreturn rec_get(KEYS, ARGV)"
        let key = "rec:\(feed.name):live"
        let function = try await client.command("FCALL_RO", "rec_get", "1", key, "u1", "3")
        #expect(try await client.command("EVAL", script, "1", key, "u1", "3") == function)
    }

    @Test func `C reads packed lists through the function`() async throws {
        let folder = try TemporaryFolder()
        let reader = folder.path + "/reader"
        let compiled = try await Subprocess.run(
            .name("cc"),
            arguments: [
                "-Wall", "-Wextra", "-Werror", "-o", reader, "examples/readers/reader.c",
                "-lhiredis",
            ],
            output: .discarded,
            error: .string(limit: 1 << 16)
        )
        try #require(compiled.terminationStatus.isSuccess, "\(compiled.standardError)")
        let socket = try #require(try TestServers.redis.socket)
        for feed in feeds where feed.format == .packed || feed.format == .packedScored {
            try await write(feed)
            let questions = questions(feed.name).filter { $0.k != nil }
            for (question, expected) in zip(questions, try await expected(questions)) {
                let result = try await Subprocess.run(
                    .path(FilePath(reader)),
                    arguments: Arguments(
                        [socket, feed.name, question.id, "\(question.k ?? 0)"]
                            + [question.segment, question.category].compactMap(\.self)
                    ),
                    output: .string(limit: 1 << 16),
                    error: .string(limit: 1 << 16)
                )
                let expected = try #require(expected)
                let lines = result.standardOutput.split(separator: "\n").map(String.init)
                #expect(
                    lines.first
                        == "release \(expected.release) arm \(expected.arm ?? "") source \(expected.source)"
                )
                #expect(Array(lines.dropFirst()) == expected.entries.map(\.id))
            }
        }
    }
}
