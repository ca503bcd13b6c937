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

    /// Moves a feed's pointer on an operator's word, and writes it down.
    func move(_ feed: String, from live: Int?, to release: Int) async throws {
        let cache = cache(feed)
        try await releases.raiseTokens(above: cache.highest().token)
        try await cache.flip(from: live, to: release, token: releases.nextToken(), .rollback)
        try await releases.recordLive(feed: feed, number: release)
    }
}
