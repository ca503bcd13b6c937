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
            throw .fenced(
                "release \(drawn) of \"\(feed)\" is written in place: release \(release) is older"
            )
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

    /// Whether lists of later releases stand, or are about to, where a release had its own.
    package func isOverwritten(_ release: Int) async throws(CacheError) -> Bool {
        guard try await storage(of: release)?.layout == .inPlace else { return false }
        return try await highest().release > release
    }
}
