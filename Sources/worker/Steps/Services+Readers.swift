// SPDX-License-Identifier: Apache-2.0
import CacheWriter
import Jobs

extension Services {
    /// Gives Redis what Postgres has for the readers of a feed.
    ///
    /// After each change, and with each release: Redis may have lost it since.
    func tellReaders(of feed: String) async throws {
        while true {
            let rules = try await servingRules.snapshot(feed: feed)
            let known = try await cache(feed).setRules(
                hidden: rules.hidden.map(\.item),
                split: rules.split.flatMap { Split($0) },
                version: rules.version
            )
            if known <= rules.version { return }
            // Somebody changed them since, or this Postgres was restored from a backup.
            try await servingRules.raise(feed: feed, above: known)
        }
    }

    /// Readers leave the items out from their next lookup on.
    func hide(_ items: [String], of feed: String) async throws {
        try await servingRules.hide(items, feed: feed)
        try await tellReaders(of: feed)
    }

    func unhide(_ items: [String], of feed: String) async throws {
        try await servingRules.unhide(items, feed: feed)
        try await tellReaders(of: feed)
    }

    /// Moves a feed's pointer to an earlier release; nil is the one that was live before.
    func rollBack(_ feed: String, to release: Int?) async throws -> (from: Int, to: Int) {
        let cache = cache(feed)
        guard let live = try await cache.live() else {
            throw SettingsError("feed \"\(feed)\" has no live release")
        }
        var target = release
        if target == nil { target = try await cache.previous() }
        guard let target else {
            throw SettingsError(
                """
                there was no release of "\(feed)" before \(live)
                hint: `larder releases \(feed)` lists them
                """
            )
        }
        guard target != live else {
            throw SettingsError("release \(live) of \"\(feed)\" is live already")
        }
        try await move(feed, from: live, to: target)
        return (live, target)
    }

    /// Moves a feed's pointer on an operator's word, and writes it down.
    func move(_ feed: String, from live: Int?, to release: Int) async throws {
        let cache = cache(feed)
        try await releases.raiseTokens(above: cache.highest().token)
        let token = try await releases.nextToken()
        do {
            try await cache.flip(from: live, to: release, token: token, .rollback)
        } catch {
            // Moved, and no replica has it: to say it again would move it back.
            guard case .unreachable(let why) = error, (try? await cache.live()) == release else {
                throw error
            }
            try await releases.recordLive(feed: feed, number: release)
            throw CacheError.unreachable(
                "\(why)\nhint: release \(release) of \"\(feed)\" is live all the same; look again when the replica is back"
            )
        }
        try await releases.recordLive(feed: feed, number: release)
    }
}
