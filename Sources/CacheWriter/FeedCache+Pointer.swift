// SPDX-License-Identifier: Apache-2.0

/// The pointer of a feed: which release readers use.
extension FeedCache {
    /// The release that readers use; nil before the first.
    package func live() async throws(CacheError) -> Int? {
        try await client.command("GET", keys.live).text.flatMap { Int($0) }
    }

    /// The one before.
    package func previous() async throws(CacheError) -> Int? {
        try await client.command("HGET", keys.head, "previous").text.flatMap { Int($0) }
    }

    /// The highest number of a release and the highest fencing token that Redis knows; 0 of none.
    package func highest() async throws(CacheError) -> (release: Int, token: Int) {
        let known = try await client.command("HMGET", keys.head, "drawn", "fence")
        guard case .array(let values) = known else { throw .damaged("\(keys.head) is no hash") }
        let numbers = values.map { $0.text.flatMap { Int($0) } ?? 0 }
        return (release: max(numbers[0], try await live() ?? 0), token: numbers[1])
    }

    /// Has Redis know that a release has its number, before the first list is written: a Postgres that
    /// is restored from before then must not give it to another.
    package func noteDrawn(_ release: Int) async throws(CacheError) {
        let script = """
            local known = tonumber(redis.call('HGET', KEYS[1], 'drawn') or '0')
            if known < tonumber(ARGV[1]) then redis.call('HSET', KEYS[1], 'drawn', ARGV[1]) end
            """
        try await client.command("EVAL", script, "1", keys.head, String(release))
    }

    /// Why the pointer is moved.
    package enum Move: String, Sendable {
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
    /// release without its head is refused too: it is being collected, or has expired. Moving to
    /// where the pointer already is succeeds, so the step can be run again.
    package func flip(
        from expected: Int?,
        to release: Int,
        token: Int,
        _ move: Move
    ) async throws(CacheError) {
        let script = """
            local fence = redis.call('HGET', KEYS[2], 'fence') or '0'
            if tonumber(ARGV[3]) < tonumber(fence) then return 'fenced' end
            local live = redis.call('GET', KEYS[1]) or ''
            if live == ARGV[2] then
              -- An attempt before this one may have died before a replica had it: there is something to wait for.
              redis.call('HSET', KEYS[2], 'fence', ARGV[3])
              return 'flipped'
            end
            if live ~= ARGV[1] then return 'moved' end
            local state = redis.call('HGET', KEYS[2], ARGV[5])
            if not state then return 'gone' end
            if ARGV[4] == 'publish' and state == 'published' then return 'moved' end
            if live ~= '' then redis.call('HSET', KEYS[2], 'previous', live) end
            redis.call('HSET', KEYS[2], ARGV[5], 'published', 'fence', ARGV[3])
            redis.call('SET', KEYS[1], ARGV[2])
            return 'flipped'
            """
        let layout = try await storage(of: release)?.layout
        if move == .rollback, layout == .inPlace {
            throw .fenced(
                """
                release \(release) of "\(feed)" was written in place: later lists stand where its own did
                hint: `larder releases \(feed)` lists those with lists of their own; or run the pipeline again
                """
            )
        }
        var flip = RESPBuffer()
        flip.append(
            "EVAL",
            script,
            "2",
            keys.live,
            keys.head,
            expected.map { String($0) } ?? "",
            String(release),
            String(token),
            move.rawValue,
            keys.state(release)
        )
        let answer =
            try await isThere(release, layout) ? try await client.write(flip).first?.text : "gone"
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

    /// Whether a release's default list and description have not expired; `layout`: as that has it.
    private func isThere(
        _ release: Int,
        _ layout: ListLayout?
    ) async throws(CacheError) -> Bool {
        guard let layout else { return false }
        let list = ListKeys(keys, release: release, layout).defaultList
        return try await client.command("EXISTS", list) == .integer(1)
    }

    /// Takes a release out of use: the pointer cannot move to it any more.
    ///
    /// False, and nothing done, when the release is live or an arm of a split.
    package func retire(release: Int) async throws(CacheError) -> Bool {
        let script = """
            if redis.call('GET', KEYS[1]) == ARGV[1] then return 0 end
            local split = redis.call('HGET', KEYS[2], 'split') or ''
            if string.find(split, '=' .. ARGV[1] .. ':', 1, true) then return 0 end
            redis.call('HDEL', KEYS[2], ARGV[2])
            return 1
            """
        let isAway = try await client.command(
            "EVAL",
            script,
            "2",
            keys.live,
            keys.head,
            String(release),
            keys.state(release)
        )
        return isAway == .integer(1)
    }

    /// Unlinks the description of a release that was retired, and its lists for those without one; after its other
    /// lists, of which the description says where they stand.
    package func removeHead(release: Int) async throws(CacheError) {
        var gone = [keys.meta(release)]
        // What is written in place belongs to the releases after it too.
        let layout = try await storage(of: release)?.layout ?? .keys
        if layout != .inPlace {
            let lists = ListKeys(keys, release: release, layout)
            gone += try await members(lists.fallbacks) + [lists.defaultList, lists.fallbacks]
        }
        var buffer = RESPBuffer()
        for key in gone { buffer.append("UNLINK", key) }
        _ = try await client.pipeline(buffer)
    }
}
