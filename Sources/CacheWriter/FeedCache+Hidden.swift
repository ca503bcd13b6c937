// SPDX-License-Identifier: Apache-2.0

extension FeedCache {
    /// Gives readers the items that they leave out of every list.
    ///
    /// A set that is older than the one that is there changes nothing, so it does not matter in
    /// which order those who changed it come here.
    package func setHidden(_ items: [String], version: Int) async throws(CacheError) {
        // Redis' Lua passes at most some 8,000 arguments to a command.
        let script = """
            if tonumber(ARGV[1]) <= tonumber(redis.call('HGET', KEYS[1], 'hidden') or '-1') then
              return 0
            end
            redis.call('DEL', KEYS[2])
            for first = 2, #ARGV, 1000 do
              redis.call('SADD', KEYS[2], unpack(ARGV, first, math.min(first + 999, #ARGV)))
            end
            redis.call('HSET', KEYS[1], 'hidden', ARGV[1])
            return 1
            """
        try await client.command(
            ["EVAL", script, "2", keys.head, keys.hidden, String(version)] + items
        )
    }
}
