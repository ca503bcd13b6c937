// SPDX-License-Identifier: Apache-2.0

/// One feed's lists in Redis: writing a release, checking it, removing it.
///
/// A release's keys carry its number and are written by nobody else, so a worker that lost its
/// job can harm nothing but its own release, with the same bytes; but for lists that are written in place.
package struct FeedCache: Sendable {
    let client: RedisClient
    let keys: CacheKeys
    let feed: String

    package init(_ feed: String, on client: RedisClient) {
        self.feed = feed
        self.client = client
        keys = CacheKeys(feed: feed)
    }

    // MARK: writing a release

    /// For lists of a release, without any as yet.
    package func batch(
        release: Int,
        _ layout: ListLayout = .keys,
        expire: Duration
    ) -> ListBatch {
        ListBatch(ListKeys(keys, release: release, layout), expire: expire)
    }

    /// Writes batch after batch while more are made, until a replica has them too, and returns the bytes sent.
    ///
    /// `next` is called until it returns nil; `rate`: how many lists a second all writers of the feed
    /// write together at most.
    package func write(
        rate: Int? = nil,
        batches next: () async throws -> ListBatch?
    ) async throws -> Int {
        try await withThrowingTaskGroup(of: (bytes: Int, Written).self) { group in
            var bytes = 0
            var written = Written()
            func take(_ sent: (bytes: Int, Written)?) {
                guard let sent else { return }
                bytes += sent.bytes
                written.note(sent.1)
            }
            var underWay = 0
            while let batch = try await next() {
                if let rate { try await pace(batch.count, rate) }
                // One is written and one waits: Redis has the next at once when one is done.
                if underWay == 2 {
                    take(try await group.next())
                    underWay -= 1
                }
                // Not on the caller's executor, which may be one thread that makes the next batch.
                group.addTask(executorPreference: globalConcurrentExecutor) {
                    try await client.pipeline(batch.commands)
                }
                underWay += 1
            }
            for try await sent in group { take(sent) }
            try await client.awaitReplicas(of: written)
            return bytes
        }
    }

    /// Waits until so many lists may be written, by the clock of Redis, which all writers share: each takes the
    /// time from when the one before it is due (the generic cell rate algorithm).
    private func pace(_ lists: Int, _ rate: Int) async throws {
        let script = """
            local time = redis.call('TIME')
            local now = time[1] * 1000000 + time[2]
            local due = tonumber(redis.call('HGET', KEYS[1], 'due') or '0')
            -- Nobody is that far ahead: the clock was set back.
            if due < now or due > now + 60000000 then due = now end
            redis.call('HSET', KEYS[1], 'due', string.format('%.0f', due + ARGV[1]))
            return due - now
            """
        let took = String(lists * 1_000_000 / rate)
        let wait = try await client.command("EVAL", script, "1", keys.head, took).number ?? 0
        try await Task.sleep(for: .microseconds(wait))
    }

    /// A list for those whose id has none.
    package struct Fallback: Sendable {
        package let source: Lookup.Source
        package let value: String
        package let bytes: [UInt8]

        package init(_ source: Lookup.Source, _ value: String, _ bytes: [UInt8]) {
            self.source = source
            self.value = value
            self.bytes = bytes
        }
    }

    /// Writes lists for groups of readers, and down which there are.
    package func write(
        _ fallbacks: [Fallback],
        release: Int,
        _ layout: ListLayout = .keys,
        expire: Duration
    ) async throws(CacheError) {
        guard !fallbacks.isEmpty else { return }
        let lists = ListKeys(keys, release: release, layout)
        let set = ExpiringSet(expire)
        var buffer = RESPBuffer()
        for list in fallbacks {
            let key = lists.fallback(list.source, list.value)
            buffer.append("SADD", lists.fallbacks, key)
            set.append(key.utf8, list.bytes, to: &buffer)
        }
        let (_, written) = try await client.pipeline(buffer)
        try await client.awaitReplicas(of: written)
        try await client.command("EXPIRE", lists.fallbacks, set.seconds)
    }

    /// What a reader may want to know about a release.
    package struct Meta: Sendable {
        package let format: ListFormat
        package let k: Int
        /// Entries beyond k.
        package let spare: Int
        package let layout: ListLayout
        /// `users`, `items`, `sessions` or `items-of-users`.
        package let listsFor: String
        package let count: Int
        package let dataset: String
        package let model: String
        package let created: String

        package init(
            format: ListFormat,
            k: Int,
            spare: Int,
            layout: ListLayout = .keys,
            listsFor: String,
            count: Int,
            dataset: String,
            model: String,
            created: String
        ) {
            self.format = format
            self.k = k
            self.spare = spare
            self.layout = layout
            self.listsFor = listsFor
            self.count = count
            self.dataset = dataset
            self.model = model
            self.created = created
        }
    }

    /// Writes the list for unknown ids and the description of the release, which is whole then.
    package func writeHead(
        _ defaultList: [UInt8],
        _ meta: Meta,
        release: Int,
        expire: Duration
    ) async throws(CacheError) {
        let set = ExpiringSet(expire)
        var buffer = RESPBuffer()
        let lists = ListKeys(keys, release: release, meta.layout)
        set.append(lists.defaultList.utf8, defaultList, to: &buffer)
        let fields = [
            "format", meta.format.rawValue, "k", String(meta.k), "spare", String(meta.spare),
            "for", meta.listsFor, "count", String(meta.count), "dataset", meta.dataset,
            "model", meta.model, "created", meta.created,
        ]
        buffer.append(["HSET", keys.meta(release)] + fields + meta.layout.described)
        buffer.append("EXPIRE", keys.meta(release), set.seconds)
        try await client.write(buffer)
        // Last, because it says that the release is whole; and it may have been published already.
        var head = RESPBuffer()
        head.append("HSETNX", keys.head, keys.state(release), "ready")
        try await client.write(head)
    }

    // MARK: reading back

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
        let lists = try await self.lists(of: release)
        for start in stride(from: 0, to: samples.count, by: 500) {
            let part = samples[start..<min(start + 500, samples.count)]
            var buffer = RESPBuffer()
            for sample in part {
                lists.read(sample.id, in: &buffer)
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

    /// Whether Redis keeps the hash that has the list of an id as a table, which takes more memory than a key for each
    /// list.
    package func isInTable(_ id: [UInt8], release: Int) async throws(CacheError) -> Bool {
        let key = try await lists(of: release).place(of: id).key
        var question = RESPBuffer()
        question.begin(3)
        for word in [Array("OBJECT".utf8), Array("ENCODING".utf8), key] {
            question.append(argument: word)
        }
        return try await client.ask(question).first?.text == "hashtable"
    }

    /// Lists of a release, live or not; nil for ids that have none.
    package func lists(
        _ ids: [[UInt8]],
        release: Int
    ) async throws(CacheError) -> (lists: [[ListFormat.Entry]?], defaultList: [ListFormat.Entry]) {
        var head = RESPBuffer()
        head.append(["HMGET", keys.meta(release), "format"] + ListLayout.fields)
        // Of one that is being collected some lists are gone.
        head.append("HEXISTS", keys.head, keys.state(release))
        let replies = try await client.read(head)
        // A release that is gone has no lists.
        guard case .array(let meta) = replies[0],
            let format = meta[0].text.flatMap({ ListFormat(rawValue: $0) }),
            replies[1] == .integer(1)
        else {
            return ([[ListFormat.Entry]?](repeating: nil, count: ids.count), [])
        }
        let places = ListKeys(keys, release: release, ListLayout(meta.dropFirst()))
        func decoded(_ reply: Reply) -> [ListFormat.Entry]? {
            guard case .bytes(let bytes) = reply else { return nil }
            return format.decode(bytes)
        }
        var lists: [[ListFormat.Entry]?] = []
        for start in stride(from: 0, to: ids.count, by: 500) {
            var buffer = RESPBuffer()
            for id in ids[start..<min(start + 500, ids.count)] {
                places.read(id, in: &buffer)
            }
            for reply in try await client.read(buffer) { lists.append(decoded(reply)) }
        }
        return (lists, decoded(try await client.command("GET", places.defaultList)) ?? [])
    }

    // MARK: garbage

    /// Where the lists of a release stand, as its description has it.
    func lists(of release: Int) async throws(CacheError) -> ListKeys {
        ListKeys(keys, release: release, try await storage(of: release)?.layout ?? .keys)
    }

    /// Nil where a release has no description: it was never whole, or has expired.
    package func storage(
        of release: Int
    ) async throws(CacheError) -> (format: ListFormat, layout: ListLayout)? {
        var question = RESPBuffer()
        question.append(["HMGET", keys.meta(release), "format"] + ListLayout.fields)
        guard case .array(let words) = try await client.read(question)[0],
            let format = words[0].text.flatMap({ ListFormat(rawValue: $0) })
        else { return nil }
        return (format, ListLayout(words.dropFirst()))
    }

    /// Unlinks lists of a release that is not live, by name: never SCAN or KEYS.
    package func remove(
        _ ids: [ArraySlice<UInt8>],
        release: Int
    ) async throws(CacheError) {
        let lists = ListKeys(keys, release: release, .keys)
        try await unlink(ids.lazy.map { lists.place(of: $0).key })
    }

    /// The same of hashes.
    package func remove(buckets: Range<Int>, release: Int) async throws(CacheError) {
        let lists = ListKeys(keys, release: release, .buckets(buckets.upperBound))
        try await unlink(buckets.lazy.map(lists.bucket))
    }

    private func unlink(_ keys: some Sequence<[UInt8]>) async throws(CacheError) {
        var buffer = RESPBuffer()
        for key in keys {
            buffer.begin(2)
            buffer.append(argument: "UNLINK".utf8)
            buffer.append(argument: key)
        }
        _ = try await client.pipeline(buffer)
    }
}
