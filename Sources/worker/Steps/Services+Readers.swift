// SPDX-License-Identifier: Apache-2.0
import CacheWriter
import Jobs

extension Services {
    /// Gives Redis what Postgres has for the readers of a feed: hidden items and a split.
    ///
    /// After each change, and with each release: Redis may have lost it since. Where Redis is ahead,
    /// somebody changed it just now; or Postgres was restored from a backup, and counts on from there.
    func tellReaders(of feed: String) async throws {
        let cache = cache(feed)
        while let hidden = try await hiddenItems.snapshot(feed: feed) {
            let there = try await cache.setHidden(hidden.items.map(\.item), version: hidden.version)
            if there == hidden.version { break }
            try await hiddenItems.raise(feed: feed, to: there)
        }
        while let split = try await splits.snapshot(feed: feed) {
            let there = try await cache.setSplit(
                split.split.flatMap { Split($0) },
                version: split.version
            )
            if there == split.version { break }
            try await splits.raise(feed: feed, to: there)
        }
    }

    /// Moves a feed's pointer on an operator's word, and writes it down.
    func move(_ feed: String, from live: Int?, to release: Int) async throws {
        try await cache(feed).flip(from: live, to: release, token: releases.nextToken(), .rollback)
        try await releases.recordLive(feed: feed, number: release)
    }
}
