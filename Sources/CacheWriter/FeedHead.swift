// SPDX-License-Identifier: Apache-2.0

/// What a feed's lists are read with: which release is live, or which are for whom; how their lists
/// are written; what is hidden.
struct FeedHead: Sendable {
    /// What tells a head that has changed from one that has not; two small reads.
    struct Version: Sendable, Equatable {
        let live: Int
        /// The version of what readers follow beside the pointer; nil where they never were told.
        let rules: String?

        static func ask(_ keys: CacheKeys, in buffer: inout RESPBuffer) {
            buffer.append("GET", keys.live)
            buffer.append("HGET", keys.head, "rules")
        }

        /// Takes the two replies; nil where no release is live.
        init?(taking replies: inout ArraySlice<Reply>) throws(CacheError) {
            let (pointer, head) = (replies.removeFirst(), replies.removeFirst())
            for reply in [pointer, head] { _ = try reply.checked() }
            guard let live = pointer.text.flatMap({ Int($0) }) else { return nil }
            self.live = live
            rules = head.text
        }
    }

    /// How the lists of a release are written.
    struct Release: Sendable {
        let number: Int
        let format: ListFormat
        /// Entries of a list; more may stand in it, for when some are hidden.
        let k: Int
        let layout: ListLayout
        /// `users`, `items`, `sessions` or `items-of-users`.
        let listsFor: String
    }

    let version: Version
    let hidden: Set<String>
    private let live: Release
    private let split: Split?
    private let others: [Int: Release]

    /// Reads what belongs to a version.
    init(of feed: String, _ version: Version, from client: RedisClient) async throws(CacheError) {
        let keys = CacheKeys(feed: feed)
        var rules = RESPBuffer()
        rules.append("SMEMBERS", keys.hidden)
        rules.append("HGET", keys.head, "split")
        let told = try await client.read(rules)
        guard case .array(let hidden) = told[0] else {
            throw .damaged("\(keys.hidden) is no set")
        }
        let split = told[1].text.flatMap { Split($0) }
        let releases = [version.live] + (split?.arms.compactMap(\.release) ?? [])
        var about = RESPBuffer()
        for release in releases {
            about.append(["HMGET", keys.meta(release), "format", "k", "for"] + ListLayout.fields)
        }
        var found: [Int: Release] = [:]
        for (number, reply) in zip(releases, try await client.read(about)) {
            found[number] = Release(number, reply)
        }
        guard let live = found[version.live] else { throw .damaged(Self.gone(feed, version.live)) }
        self.version = version
        self.hidden = Set(hidden.compactMap(\.text))
        self.live = live
        self.split = split
        others = found
    }

    /// Whose list an id gets, and the name of its arm where there are several.
    ///
    /// Its own, or the one that is asked for; an arm whose release has expired is none.
    func release(for id: String, arm wanted: String? = nil) -> (Release, arm: String?) {
        let arm = wanted.map { name in split?.arms.first { $0.name == name } } ?? split?.arm(of: id)
        guard let arm else { return (live, nil) }
        guard let number = arm.release else { return (live, arm.name) }
        return others[number].map { ($0, arm.name) } ?? (live, nil)
    }

    /// What to say where a live release's keys are missing.
    static func gone(_ feed: String, _ release: Int) -> String {
        """
        release \(release) of "\(feed)" is live and its lists are gone from Redis
        hint: `larder rollback \(feed)`, or run the pipeline again
        """
    }
}

extension FeedHead.Release {
    /// Of what `HMGET meta format k for …` answers; nil where the release is gone.
    init?(_ number: Int, _ reply: Reply) {
        guard case .array(let meta) = reply,
            let format = meta[0].text.flatMap({ ListFormat(rawValue: $0) }),
            let k = meta[1].text.flatMap({ Int($0) })
        else { return nil }
        self.number = number
        self.format = format
        self.k = k
        listsFor = meta[2].text ?? ""
        layout = ListLayout(meta.dropFirst(3))
    }
}
