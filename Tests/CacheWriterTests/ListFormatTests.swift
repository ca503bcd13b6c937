// SPDX-License-Identifier: Apache-2.0
import Foundation
import Testing

@testable import CacheWriter

struct ListFormatTests {
    static let ids = [
        "50", "with space", "quote\"s", "back\\slash", "col:on", "{brace}", "new\nline", "tab\t",
        "émoji 🍲", "\u{1}control", String(repeating: "x", count: 4096), "_meta",
    ]

    @Test(arguments: ListFormat.allCases)
    func `any id comes back as it was`(_ format: ListFormat) throws {
        let scores = Self.ids.indices.map { Float($0) / 7 }
        let bytes = ListEncoder(format, ids: Self.ids).encode(
            Self.ids.indices.map { Int32($0) },
            scores: scores
        )
        let entries = try #require(format.decode(bytes))
        #expect(entries.map(\.id) == Self.ids)
        switch format {
        case .json, .packed: #expect(entries.allSatisfy { $0.score == nil })
        case .jsonScored: #expect(entries.map { Float($0.score ?? -1) } == scores)
        case .packedScored: #expect(entries.map(\.score) == scores.map { Double(Float16($0)) })
        }
    }

    @Test(arguments: [
        (["50", "172", "4294967295"], 4 + 3 * 4), (["50", "172", "4294967296"], 4 + 3 * 8),
        (["50", "172", "007"], 4 + 3 * 2 + 8), (["50", "172", "+7"], 4 + 3 * 2 + 7),
        (["50", "172", "18446744073709551616"], 4 + 3 * 2 + 25),
    ])
    func `packed ids are as short as all of them allow`(_ ids: [String], _ size: Int) throws {
        let list = ListEncoder(.packed, ids: ids).encode([0, 1, 2], scores: [3, 2, 1])
        #expect(list.count == size)
        #expect(try #require(ListFormat.packed.decode(list)).map(\.id) == ids)
        let scored = ListEncoder(.packedScored, ids: ids).encode(
            [2, 0],
            scores: [100_000, -.infinity]
        )
        let entries = try #require(ListFormat.packedScored.decode(scored))
        #expect(entries.map(\.id) == [ids[2], ids[0]] && entries.map(\.score) == [65504, 0])
    }

    @Test func `a packed list that is cut, or has more, is refused`() {
        for format in [ListFormat.packed, .packedScored] {
            for ids in [["1", "2"], ["a", "ü"]] {
                let list = ListEncoder(format, ids: ids).encode([0, 1], scores: [1, 0.5])
                for count in 0..<list.count {
                    #expect(format.decode(Array(list.prefix(count))) == nil, "\(count)")
                }
                #expect(format.decode(list + [0]) == nil)
                #expect(format.decode([2] + list.dropFirst()) == nil)
                #expect(ListFormat.json.decode(list) == nil)
            }
        }
    }

    @Test func `the bytes are what docs say`() {
        let ids = ["50", "172"]
        func text(_ format: ListFormat) -> String {
            String(
                decoding: ListEncoder(format, ids: ids).encode([0, 1], scores: [0.5, 0.25]),
                as: UTF8.self
            )
        }
        #expect(text(.json) == #"["50","172"]"#)
        #expect(text(.jsonScored) == #"[["50",0.5],["172",0.25]]"#)
        #expect(
            ListEncoder(.packedScored, ids: ids).encode([0, 1], scores: [0.5, 0.25])
                == [1, 4, 2, 0, 50, 0, 0, 0, 172, 0, 0, 0, 0, 0x38, 0, 0x34]
        )
        #expect(ListEncoder(.json, ids: ids).encode([], scores: []) == Array("[]".utf8))
    }

    @Test func `whatever happens to a list, it is read as Foundation reads it`() {
        let plain = Array(#"["50","日本","a b","q\"x\u00e9",""]"#.utf8)
        let scored = Array(#"[["50",0.5],["日",-1.25e-05],["x",0],["y",12]]"#.utf8)
        let others = Array("[]{}\",\\ 01.-+ex\u{7f}\n".utf8) + [0xff, 0x00]
        var random = SystemRandomNumberGenerator()
        for round in 0..<20_000 {
            var bytes = round % 2 == 0 ? plain : scored
            for _ in 0..<Int.random(in: 0...2, using: &random) {
                let place = Int.random(in: 0..<bytes.count, using: &random)
                switch Int.random(in: 0..<3, using: &random) {
                case 0: bytes.remove(at: place)
                case 1: bytes.insert(others.randomElement(using: &random) ?? 0, at: place)
                default: bytes[place] = others.randomElement(using: &random) ?? 0
                }
            }
            let decoder = JSONDecoder()
            let shown = Comment(rawValue: String(decoding: bytes, as: UTF8.self))
            if round % 2 == 0 {
                let expected = try? decoder.decode([String].self, from: Data(bytes))
                #expect(ListFormat.json.decode(bytes)?.map(\.id) == expected, shown)
            } else {
                let expected = try? decoder.decode([JSONList.Pair].self, from: Data(bytes))
                let found = ListFormat.jsonScored.decode(bytes)
                #expect(found?.map(\.id) == expected?.map(\.id), shown)
                #expect(found?.map(\.score) == expected?.map(\.score), shown)
            }
        }
    }

    @Test func `what is not a list is refused`() {
        for bad in ["", "[", "{}", "[1,2]", "\"x\""] {
            #expect(ListFormat.json.decode(Array(bad.utf8)) == nil)
        }
        #expect(ListFormat.jsonScored.decode(Array(#"["50"]"#.utf8)) == nil)
        #expect(ListFormat.jsonScored.decode(Array(#"[["50",1e1005]]"#.utf8)) == nil)
    }
}

struct CacheKeysTests {
    private let keys = CacheKeys(feed: "for-you")

    @Test func `an id that starts with an underscore cannot be one of our own names`() {
        let lists = ListKeys(keys, release: 7, .keys)
        func key(_ id: String) -> String {
            String(
                decoding: lists.place(of: id.utf8).key,
                as: UTF8.self
            )
        }
        #expect(key("259") == "rec:for-you:7:259")
        #expect(key("_default") == "rec:for-you:7:__default")
        #expect(key("_default") != lists.defaultList)
        #expect(key("_meta") != keys.meta(7))
        #expect(key("__x") != key("_x"))
    }
}

struct RESPBufferTests {
    @Test func `a command is an array of bulk strings`() {
        var buffer = RESPBuffer()
        buffer.append("SET", "k", "é\r\n")
        #expect(
            String(decoding: buffer.bytes, as: UTF8.self)
                == "*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$4\r\né\r\n\r\n"
        )
        #expect(buffer.count == 1)
    }

    @Test func `windows cover all commands, each as long as asked for`() {
        var buffer = RESPBuffer()
        let sizes = (0..<200).map { $0 * 37 % 101 + ($0 == 60 ? 3000 : 0) }
        for size in sizes { buffer.append("ECHO", String(repeating: "x", count: size)) }
        var next = 0
        var seen = 0
        while next < buffer.count {
            let window = buffer.window(from: next, bytes: 500)
            let bytes = buffer.range(window)
            #expect(window.lowerBound == next && bytes.lowerBound == seen)
            // No shorter than asked for, but the last; and not with the last command too many.
            #expect(bytes.count >= 500 || window.upperBound == buffer.count)
            #expect(window.count == 1 || buffer.range(window.dropLast()).count < 500)
            (next, seen) = (window.upperBound, bytes.upperBound)
        }
        #expect(seen == buffer.bytes.count)
        var both = RESPBuffer()
        both.append("PING")
        both.append(buffer)
        #expect(both.count == 201 && both.bytes.count == buffer.bytes.count + 14)
        #expect(both.bytes[both.range(61..<62)].elementsEqual(buffer.bytes[buffer.range(60..<61)]))
    }
}

struct RedisAddressTests {
    @Test func `URLs are read as redis-cli reads them`() throws {
        let full = try RedisAddress("redis://me:p@ss:w@cache.local:7000/3")
        #expect(full.endpoints == [.tcp(host: "cache.local", port: 7000)] && full.database == 3)
        #expect(full.user == "me" && full.password == "p@ss:w")
        let bare = try RedisAddress("redis://localhost")
        #expect(bare.endpoints == [.tcp(host: "localhost", port: 6379)] && bare.password == nil)
        let onlyPassword = try RedisAddress("redis://:secret@h")
        #expect(onlyPassword.user == nil && onlyPassword.password == "secret")
        let socket = try RedisAddress("unix:///run/redis.sock?db=2")
        #expect(socket.socket == "/run/redis.sock" && socket.database == 2)
        let coded = try RedisAddress("redis://a%40b:%2F%25%E6%97%A5@[::1]:7000")
        #expect(coded.user == "a@b" && coded.password == "/%日")
        #expect(coded.endpoints == [.tcp(host: "::1", port: 7000)])
        let own = try RedisAddress("unix://me:pw@/run/a@b.sock")
        #expect(own.user == "me" && own.password == "pw" && own.socket == "/run/a@b.sock")
        let cluster = try RedisAddress("redis://u:p@a:7000,[::1],c")
        #expect(cluster.endpoints.map(\.description) == ["a:7000", "[::1]:6379", "c:6379"])
        let sentinels = try RedisAddress("redis+sentinel://:p@a,b:7/my%20feeds/2")
        #expect(sentinels.endpoints.map(\.description) == ["a:26379", "b:7"])
        #expect(sentinels.primary == "my feeds" && sentinels.database == 2)
        let odd = RedisAddress(socket: "/home/a@b:c%/redis.sock")
        for address in [
            full, bare, onlyPassword, socket, coded, own, cluster, sentinels, odd,
        ] {
            #expect(try RedisAddress(address.url) == address)
        }
    }

    @Test(arguments: [
        "", "localhost:6379", "http://x", "redis://", "redis://h:port", "redis://h:0",
        "redis://h/x",
        "unix://relative", "unix:///s?x=1", "redis://user@h", "redis://h:1:2", "redis://h/-1",
        "redis://[::1", "redis://a,,b", "redis://a,", "redis+sentinel://a", "redis+sentinel://a/",
        "redis+sentinel://a/n/x", "redis+sentinel://a/n/1/2", "redis://[::1]7000", "redis://u:%4@h",
        "redis://u:%ff@h",
    ])
    func `what is not an address is refused`(_ url: String) {
        #expect(throws: RedisAddress.Problem.isMalformed) { try RedisAddress(url) }
    }
}
