// SPDX-License-Identifier: Apache-2.0

/// A release as commands in Redis' wire format, that put it into another Redis.
extension FeedCache {
    /// Lists as they are here; ids without one are left out.
    package func copy(
        of ids: [ArraySlice<UInt8>],
        release: Int,
        expire: Duration
    ) async throws(CacheError) -> (commands: [UInt8], lists: Int) {
        let lists = try await lists(of: release)
        var questions = RESPBuffer()
        for id in ids { lists.read(id, in: &questions) }
        let set = ExpiringSet(expire)
        var copy = RESPBuffer()
        var count = 0
        for (id, reply) in zip(ids, try await client.read(questions)) {
            guard case .bytes(let list) = reply else { continue }
            lists.write(id, list, set, to: &copy)
            count += 1
        }
        return (copy.bytes, count)
    }

    /// Everything else, the pointer last: nobody reads the release before it is whole.
    ///
    /// A split is not copied: its arms read releases that are not there.
    package func copyOfHead(
        release: Int,
        expire: Duration
    ) async throws(CacheError) -> [UInt8] {
        let set = ExpiringSet(expire)
        let lists = try await lists(of: release)
        let rest = [lists.defaultList] + (try await members(lists.fallbacks))
        var questions = RESPBuffer()
        for key in rest { questions.append("GET", key) }
        var copy = RESPBuffer()
        for (key, reply) in zip(rest, try await client.read(questions)) {
            guard case .bytes(let list) = reply else { continue }
            set.append(key.utf8, list, to: &copy)
        }
        guard case .array(let meta) = try await client.command("HGETALL", keys.meta(release)),
            !meta.isEmpty, try await isUsable(release)
        else { throw .damaged(FeedHead.gone(feed, release)) }
        copy.append(["HSET", keys.meta(release)] + meta.compactMap(\.text))
        copy.append("EXPIRE", keys.meta(release), set.seconds)
        // The version first: what is hidden after it was read comes under the next.
        let rules = try await client.command("HGET", keys.head, "rules").text
        let hidden = try await members(keys.hidden)
        // At once: nobody sees there what is hidden.
        copy.append("MULTI")
        copy.append("DEL", keys.hidden)
        for first in stride(from: 0, to: hidden.count, by: 1000) {
            copy.append(
                ["SADD", keys.hidden] + hidden[first..<min(first + 1000, hidden.count)]
            )
        }
        copy.append("HDEL", keys.head, "split")
        copy.append("HSET", keys.head, "rules", rules ?? "0", keys.state(release), "published")
        copy.append("SET", keys.live, String(release))
        copy.append("EXEC")
        return copy.bytes
    }

    /// Of a set.
    func members(_ key: String) async throws(CacheError) -> [String] {
        guard case .array(let members) = try await client.command("SMEMBERS", key) else {
            return []
        }
        return members.compactMap(\.text)
    }
}
