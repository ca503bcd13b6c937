// SPDX-License-Identifier: Apache-2.0
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
        if format == .jsonScored {
            #expect(entries.map { Float($0.score ?? -1) } == scores)
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
        #expect(ListEncoder(.json, ids: ids).encode([], scores: []) == Array("[]".utf8))
    }

    @Test func `what is not a list is refused`() {
        for bad in ["", "[", "{}", "[1,2]", "\"x\""] {
            #expect(ListFormat.json.decode(Array(bad.utf8)) == nil)
        }
        #expect(ListFormat.jsonScored.decode(Array(#"["50"]"#.utf8)) == nil)
    }
}

struct CacheKeysTests {
    private let keys = CacheKeys(feed: "for-you")

    @Test func `an id that starts with an underscore cannot be one of our own names`() {
        func key(_ id: String) -> String {
            String(decoding: keys.list(7, Array(id.utf8)), as: UTF8.self)
        }
        #expect(key("259") == "rec:for-you:7:259")
        #expect(key("_default") == "rec:for-you:7:__default")
        #expect(key("_default") != keys.defaultList(7))
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
        #expect(buffer.commands == 1)
        buffer.removeAll()
        #expect(buffer.isEmpty && buffer.bytes.isEmpty)
    }
}

struct RedisAddressTests {
    @Test func `URLs are read as redis-cli reads them`() throws {
        let full = try #require(RedisAddress("redis://me:p@ss:w@cache.local:7000/3"))
        #expect(full.host == "cache.local" && full.port == 7000 && full.database == 3)
        #expect(full.user == "me" && full.password == "p@ss:w")
        #expect(!full.shown.contains("p@ss"))
        let bare = try #require(RedisAddress("redis://localhost"))
        #expect(bare.host == "localhost" && bare.port == 6379 && bare.password == nil)
        let onlyPassword = try #require(RedisAddress("redis://:secret@h"))
        #expect(onlyPassword.user == nil && onlyPassword.password == "secret")
        let socket = try #require(RedisAddress("unix:///run/redis.sock?db=2"))
        #expect(socket.socket == "/run/redis.sock" && socket.database == 2)
        for address in [full, bare, onlyPassword, socket] {
            #expect(RedisAddress(address.url) == address)
        }
    }

    @Test(arguments: [
        "", "localhost:6379", "http://x", "redis://", "redis://h:port", "redis://h:0",
        "redis://h/x",
        "unix://relative", "unix:///s?x=1", "redis://user@h", "redis://h:1:2",
    ])
    func `what is not an address is refused`(_ url: String) {
        #expect(RedisAddress(url) == nil)
    }
}
