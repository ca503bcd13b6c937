// SPDX-License-Identifier: Apache-2.0

/// What a feed's lists are read with: which release is live, how its lists are written, and what is
/// hidden.
struct FeedHead: Sendable {
    /// What tells a head that has changed from one that has not; two small reads.
    struct Version: Sendable, Equatable {
        let live: Int
        /// Of the set of hidden items; nil where there never was one.
        let hidden: String?

        static func ask(_ keys: CacheKeys, in buffer: inout RESPBuffer) {
            buffer.append("GET", keys.live)
            buffer.append("HGET", keys.head, "hidden")
        }

        /// Takes the two replies; nil where no release is live.
        init?(taking replies: inout ArraySlice<Reply>) {
            let live = replies.removeFirst().text.flatMap { Int($0) }
            hidden = replies.removeFirst().text
            guard let live else { return nil }
            self.live = live
        }
    }

    let version: Version
    let format: ListFormat
    /// Entries of a list; more may stand in it, for when some are hidden.
    let k: Int
    let hidden: Set<String>

    var live: Int { version.live }

    /// Reads what belongs to a version.
    init(of feed: String, _ version: Version, from client: RedisClient) async throws(CacheError) {
        let keys = CacheKeys(feed: feed)
        var buffer = RESPBuffer()
        buffer.append("HMGET", keys.meta(version.live), "format", "k")
        buffer.append("SMEMBERS", keys.hidden)
        let replies = try await client.read(buffer)
        guard case .array(let meta) = replies[0], case .array(let hidden) = replies[1],
            let format = meta[0].text.flatMap({ ListFormat(rawValue: $0) }),
            let k = meta[1].text.flatMap({ Int($0) })
        else { throw .damaged(Self.gone(feed, version.live)) }
        self.version = version
        self.format = format
        self.k = k
        self.hidden = Set(hidden.compactMap(\.text))
    }

    /// What to say where a live release's keys are missing.
    static func gone(_ feed: String, _ release: Int) -> String {
        """
        release \(release) of "\(feed)" is live and its lists are gone from Redis
        hint: `larder rollback \(feed)`, or run the pipeline again
        """
    }
}
