// SPDX-License-Identifier: Apache-2.0

/// One feed's lists in Redis: writing a release, checking it, moving the pointer, reading.
///
/// A release's keys carry its number and are written by nobody else, so a worker that lost its
/// job can harm nothing but its own release, with the same bytes.
package struct FeedCache: Sendable {
    private let client: RedisClient
    private let keys: CacheKeys
    private let feed: String

    package init(_ feed: String, on client: RedisClient) {
        self.feed = feed
        self.client = client
        keys = CacheKeys(feed: feed)
    }

    // MARK: writing a release

    /// One list and the id it is for.
    package struct List: Sendable {
        package let id: ArraySlice<UInt8>
        package let bytes: [UInt8]

        package init(id: ArraySlice<UInt8>, bytes: [UInt8]) {
            self.id = id
            self.bytes = bytes
        }
    }

    /// Writes lists and returns the bytes sent; every reply was read and none was an error.
    package func write(
        _ lists: [List],
        release: Int,
        expire: Duration
    ) async throws(CacheError) -> Int {
        let seconds = Array(String(expire.components.seconds).utf8)
        let keys = keys
        return try await client.pipeline(lists.count) { place, buffer in
            buffer.begin(5)
            buffer.append(argument: "SET".utf8)
            buffer.append(argument: keys.list(release, lists[place].id))
            buffer.append(argument: lists[place].bytes)
            buffer.append(argument: "EX".utf8)
            buffer.append(argument: seconds)
        }
    }

    /// What a reader may want to know about a release.
    package struct Meta: Sendable {
        package let format: ListFormat
        package let k: Int
        package let count: Int
        package let dataset: String
        package let model: String
        package let created: String

        package init(
            format: ListFormat,
            k: Int,
            count: Int,
            dataset: String,
            model: String,
            created: String
        ) {
            self.format = format
            self.k = k
            self.count = count
            self.dataset = dataset
            self.model = model
            self.created = created
        }
    }

    /// Writes the list for unknown ids and the description of the release.
    package func writeHead(
        _ defaultList: [UInt8],
        _ meta: Meta,
        release: Int,
        expire: Duration
    ) async throws(CacheError) {
        let seconds = String(expire.components.seconds)
        var buffer = RESPBuffer()
        buffer.begin(5)
        buffer.append(argument: "SET".utf8)
        buffer.append(argument: keys.defaultList(release).utf8)
        buffer.append(argument: defaultList)
        buffer.append(argument: "EX".utf8)
        buffer.append(argument: seconds.utf8)
        buffer.append(
            "HSET",
            keys.meta(release),
            "format",
            meta.format.rawValue,
            "k",
            String(meta.k),
            "count",
            String(meta.count),
            "dataset",
            meta.dataset,
            "model",
            meta.model,
            "created",
            meta.created
        )
        buffer.append("EXPIRE", keys.meta(release), seconds)
        for case .error(let words) in try await client.exchange(buffer) { throw .refused(words) }
    }

    // MARK: publishing

    /// A list that must be found as it was written.
    package struct Sample: Sendable {
        package let id: [UInt8]
        package let fingerprint: Fingerprint

        package init(id: [UInt8], fingerprint: Fingerprint) {
            self.id = id
            self.fingerprint = fingerprint
        }
    }

    /// Reads the samples back, decodes them and compares; throws at the first that differs.
    package func verify(
        _ samples: [Sample],
        release: Int,
        format: ListFormat,
        k: Int
    ) async throws(CacheError) {
        for start in stride(from: 0, to: samples.count, by: 500) {
            let part = samples[start..<min(start + 500, samples.count)]
            var buffer = RESPBuffer()
            for sample in part {
                buffer.begin(2)
                buffer.append(argument: "GET".utf8)
                buffer.append(argument: keys.list(release, sample.id))
            }
            for (sample, reply) in zip(part, try await client.exchange(buffer)) {
                try check(sample, reply, release, format, k)
            }
        }
    }

    private func check(
        _ sample: Sample,
        _ reply: Reply,
        _ release: Int,
        _ format: ListFormat,
        _ k: Int
    ) throws(CacheError) {
        let name =
            "the list of \"\(String(decoding: sample.id, as: UTF8.self))\" in release \(release)"
        switch reply {
        case .error(let words): throw .refused(words)
        case .bytes(let bytes):
            guard Fingerprint(bytes) == sample.fingerprint, let list = format.decode(bytes),
                list.count <= k
            else { throw .damaged("\(name) of \"\(feed)\" is not the one that was written") }
        default:
            throw .damaged(
                """
                \(name) of \"\(feed)\" is gone from Redis
                hint: did Redis restart, or evict keys? larder needs maxmemory-policy noeviction
                """
            )
        }
    }

    /// The release that readers use; nil before the first.
    package func live() async throws(CacheError) -> Int? {
        try await client.command("GET", keys.live).text.flatMap { Int($0) }
    }

    package func previous() async throws(CacheError) -> Int? {
        try await client.command("GET", keys.previous).text.flatMap { Int($0) }
    }

    /// Why the pointer is moved.
    package enum Move: Sendable {
        /// A release is put out for the first time. Once is all: a publisher that is run again
        /// after an operator has rolled back must not undo that.
        case publish
        /// An operator goes back, or forward again.
        case rollback
    }

    /// Moves the pointer from `expected` to `release` if nobody else has moved it.
    ///
    /// `token` grows with every claim: a worker that was paused and has lost its job to another
    /// comes with an older token than the one that moved the pointer last, and is refused. A
    /// release without its head is refused too: it is being collected. Moving to where the pointer
    /// already is succeeds, so the step can be run again.
    package func flip(
        from expected: Int?,
        to release: Int,
        token: Int,
        _ move: Move
    ) async throws(CacheError) {
        let script = """
            if tonumber(ARGV[3]) < tonumber(redis.call('GET', KEYS[3]) or '0') then
              return 'fenced'
            end
            local live = redis.call('GET', KEYS[1]) or ''
            if live == ARGV[2] then return 'flipped' end
            if live ~= ARGV[1] then return 'moved' end
            if redis.call('EXISTS', KEYS[4], KEYS[5]) < 2 then return 'gone' end
            if ARGV[4] == 'publish' then
              if redis.call('HEXISTS', KEYS[5], 'published') == 1 then return 'moved' end
              redis.call('HSET', KEYS[5], 'published', ARGV[3])
            end
            if live ~= '' then redis.call('SET', KEYS[2], live) end
            redis.call('SET', KEYS[1], ARGV[2])
            redis.call('SET', KEYS[3], ARGV[3])
            return 'flipped'
            """
        let answer = try await client.command(
            "EVAL",
            script,
            "5",
            keys.live,
            keys.previous,
            keys.fence,
            keys.defaultList(release),
            keys.meta(release),
            expected.map { String($0) } ?? "",
            String(release),
            String(token),
            move == .publish ? "publish" : "rollback"
        ).text
        if answer == "gone" {
            throw .fenced(
                """
                release \(release) of "\(feed)" is not in Redis any more
                hint: `larder releases \(feed)` lists them; publish: keep: says how many stay
                """
            )
        }
        guard answer == "flipped" else {
            throw .fenced(
                """
                release \(release) of "\(feed)" was not published: the pointer was moved \
                meanwhile (now \(try await live().map { "release \($0)" } ?? "nowhere"))
                hint: `larder releases \(feed)` shows what happened
                """
            )
        }
    }

    // MARK: reading

    /// What a downstream service would get.
    package struct Lookup: Sendable {
        package let release: Int
        /// The list of the id itself, or the default list.
        package let isDefault: Bool
        package let entries: [ListFormat.Entry]
        package let key: String
    }

    /// Nil when the feed has no live release.
    package func lookup(_ id: String) async throws(CacheError) -> Lookup? {
        guard let release = try await live() else { return nil }
        var buffer = RESPBuffer()
        let key = keys.list(release, Array(id.utf8))
        buffer.begin(2)
        buffer.append(argument: "GET".utf8)
        buffer.append(argument: key)
        buffer.append("GET", keys.defaultList(release))
        buffer.append("HGET", keys.meta(release), "format")
        let replies = try await client.exchange(buffer)
        for case .error(let words) in replies { throw .refused(words) }
        guard let format = replies[2].text.flatMap({ ListFormat(rawValue: $0) }) else {
            throw .damaged(
                """
                release \(release) of "\(feed)" is live and its lists are gone from Redis
                hint: `larder rollback \(feed)`, or run the pipeline again
                """
            )
        }
        for (place, isDefault) in [(0, false), (1, true)] {
            guard case .bytes(let bytes) = replies[place] else { continue }
            guard let entries = format.decode(bytes) else {
                throw .damaged("the list of \"\(id)\" is not in the format \(format.rawValue)")
            }
            return Lookup(
                release: release,
                isDefault: isDefault,
                entries: entries,
                key: isDefault
                    ? keys.defaultList(release) : String(decoding: key, as: UTF8.self)
            )
        }
        return Lookup(
            release: release,
            isDefault: true,
            entries: [],
            key: keys.defaultList(release)
        )
    }

    /// Lists of a release, live or not; nil for ids that have none.
    package func lists(
        _ ids: [[UInt8]],
        release: Int
    ) async throws(CacheError) -> (lists: [[ListFormat.Entry]?], defaultList: [ListFormat.Entry]) {
        var head = RESPBuffer()
        head.append("HGET", keys.meta(release), "format")
        head.append("GET", keys.defaultList(release))
        let replies = try await client.exchange(head)
        for case .error(let words) in replies { throw .refused(words) }
        // A release that is gone has no lists.
        guard let format = replies[0].text.flatMap({ ListFormat(rawValue: $0) }) else {
            return ([[ListFormat.Entry]?](repeating: nil, count: ids.count), [])
        }
        var lists: [[ListFormat.Entry]?] = []
        for start in stride(from: 0, to: ids.count, by: 500) {
            var buffer = RESPBuffer()
            for id in ids[start..<min(start + 500, ids.count)] {
                buffer.begin(2)
                buffer.append(argument: "GET".utf8)
                buffer.append(argument: keys.list(release, id))
            }
            for reply in try await client.exchange(buffer) {
                switch reply {
                case .error(let words): throw .refused(words)
                case .bytes(let bytes): lists.append(format.decode(bytes))
                default: lists.append(nil)
                }
            }
        }
        guard case .bytes(let bytes) = replies[1] else { return (lists, []) }
        return (lists, format.decode(bytes) ?? [])
    }

    // MARK: garbage

    /// Unlinks lists of a release that is not live, by name: never SCAN or KEYS.
    package func remove(
        _ ids: [ArraySlice<UInt8>],
        release: Int
    ) async throws(CacheError) {
        let keys = keys
        _ = try await client.pipeline(ids.count) { place, buffer in
            buffer.begin(2)
            buffer.append(argument: "UNLINK".utf8)
            buffer.append(argument: keys.list(release, ids[place]))
        }
    }

    /// Unlinks the default list and the description, after which the pointer cannot move here;
    /// false, and nothing done, when the release is live.
    package func removeHead(release: Int) async throws(CacheError) -> Bool {
        let script = """
            if redis.call('GET', KEYS[1]) == ARGV[1] then return 0 end
            redis.call('UNLINK', KEYS[2], KEYS[3])
            return 1
            """
        return try await client.command(
            "EVAL",
            script,
            "3",
            keys.live,
            keys.defaultList(release),
            keys.meta(release),
            String(release)
        ) == .integer(1)
    }
}
