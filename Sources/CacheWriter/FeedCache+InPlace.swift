// SPDX-License-Identifier: Apache-2.0

/// Lists that are written over those of the release before, which readers have at once.
extension FeedCache {
    /// A batch of those lists that do not stand in Redis already; the others expire anew.
    ///
    /// `compare` is called with each list and what stands in its place. Throws where a later release
    /// has its number: what an overtaken writer has would be older than what is there. Needs Redis 6.2.
    package func changes(
        _ lists: [(id: ArraySlice<UInt8>, list: [UInt8])],
        release: Int,
        expire: Duration,
        _ compare: (_ new: [UInt8], _ old: [UInt8]) -> Void
    ) async throws(CacheError) -> ListBatch {
        let places = ListKeys(keys, release: release, .inPlace)
        let seconds = ExpiringSet(expire).seconds
        var questions = RESPBuffer()
        questions.append("HGET", keys.head, "drawn")
        for (id, _) in lists {
            questions.begin(4)
            for word in [Array("GETEX".utf8), places.place(of: id).key] {
                questions.append(argument: word)
            }
            for word in ["EX", seconds] { questions.append(argument: word.utf8) }
        }
        let replies = try await client.read(questions)
        if let drawn = replies[0].text.flatMap({ Int($0) }), drawn > release {
            throw overtaken(release, by: drawn)
        }
        var batch = batch(release: release, .inPlace, expire: expire)
        for ((id, list), reply) in zip(lists, replies.dropFirst()) {
            if case .bytes(let old) = reply {
                compare(list, old)
                if old == list {
                    batch.skip()
                    continue
                }
            }
            batch.append(id, list)
        }
        return batch
    }

    /// Throws where a later release has its number.
    package func checkNewest(_ release: Int) async throws(CacheError) {
        let drawn = try await highest().release
        if drawn > release { throw overtaken(release, by: drawn) }
    }

    private func overtaken(_ release: Int, by later: Int) -> CacheError {
        .fenced(
            "release \(later) of \"\(feed)\" was begun since: release \(release) is not written over its lists"
        )
    }

    /// Notes what the lists in place are, such as `json for users`, for as long as they stay.
    ///
    /// Returns what they are where it is something else, and for how long: then nothing was noted.
    package func claimPlace(
        for kind: String,
        expire: Duration
    ) async throws(CacheError) -> (kind: String, stays: Duration)? {
        let script = """
            local known = redis.call('GET', KEYS[1])
            if known and known ~= ARGV[1] then return {known, redis.call('TTL', KEYS[1])} end
            redis.call('SET', KEYS[1], ARGV[1], 'EX', ARGV[2])
            return {}
            """
        // Shards write for some time yet.
        let seconds = ExpiringSet(expire + .seconds(86_400)).seconds
        var claim = RESPBuffer()
        claim.append("EVAL", script, "1", keys.inPlace, kind, seconds)
        guard case .array(let other) = try await client.write(claim)[0], other.count == 2 else {
            return nil
        }
        return (other[0].text ?? "", .seconds(other[1].number ?? 0))
    }

    /// Whether lists of later releases stand, or are about to, where a release had its own.
    package func isOverwritten(_ release: Int) async throws(CacheError) -> Bool {
        guard try await storage(of: release)?.layout == .inPlace else { return false }
        return try await highest().release > release
    }
}
