// SPDX-License-Identifier: Apache-2.0

/// What readers follow beside the pointer.
extension FeedCache {
    /// Gives readers the items that they leave out of every list, and which shares of the ids read
    /// which releases; nil: all read the live one.
    ///
    /// What is no newer than what is there changes nothing: so it does not matter in which order those
    /// who changed it come here. Returns the version that is there then.
    @discardableResult
    package func setRules(
        hidden: [String],
        split: Split?,
        version: Int
    ) async throws(CacheError) -> Int {
        // Redis' Lua passes at most some 8,000 arguments to a command.
        let script = """
            local known = tonumber(redis.call('HGET', KEYS[1], 'rules') or '-1')
            if tonumber(ARGV[1]) <= known then return known end
            redis.call('DEL', KEYS[2])
            for first = 3, #ARGV, 1000 do
              redis.call('SADD', KEYS[2], unpack(ARGV, first, math.min(first + 999, #ARGV)))
            end
            redis.call('HDEL', KEYS[1], 'split')
            if ARGV[2] ~= '' then redis.call('HSET', KEYS[1], 'split', ARGV[2]) end
            redis.call('HSET', KEYS[1], 'rules', ARGV[1])
            return tonumber(ARGV[1])
            """
        var rules = RESPBuffer()
        rules.append(
            ["EVAL", script, "2", keys.head, keys.hidden, String(version), split?.text ?? ""]
                + hidden
        )
        return try await client.write(rules).first?.number ?? version
    }

    /// The split that readers follow.
    package func split() async throws(CacheError) -> Split? {
        try await client.command("HGET", keys.head, "split").text.flatMap { Split($0) }
    }

    /// Leaves `rec_get` in Redis, where it has functions and lets us.
    ///
    /// Not in a cluster, where no server has all that it reads.
    package func installFunction() async throws(CacheError) {
        if await client.isCluster { return }
        let code = String(decoding: PackageResources.rec_get_lua, as: UTF8.self)
        do {
            try await client.command("FUNCTION", "LOAD", "REPLACE", code)
        } catch {
            // Redis 6 knows none, and a user may be forbidden to: readers can do without it.
            if case .refused = error { return }
            throw error
        }
    }

    /// How long the lists of a release stay; nil when they are gone, or going.
    package func expiry(of release: Int) async throws(CacheError) -> Duration? {
        guard try await isUsable(release) else { return nil }
        let seconds = try await client.command("TTL", keys.meta(release)).number ?? -1
        return seconds < 0 ? nil : .seconds(seconds)
    }

    /// Whether a release is whole, and not being collected.
    func isUsable(_ release: Int) async throws(CacheError) -> Bool {
        try await client.command("HEXISTS", keys.head, keys.state(release)) == .integer(1)
    }
}
