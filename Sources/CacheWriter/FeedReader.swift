// SPDX-License-Identifier: Apache-2.0

/// Reads feeds as a service does: many ids in one round trip.
///
/// The heads of feeds are kept. Whether they have changed is read beside every list, and a list that
/// was read with a head of before is read again: what is answered was true when Redis was asked.
package actor FeedReader {
    private let client: RedisClient
    private var heads: [String: FeedHead] = [:]

    package init(_ client: RedisClient) { self.client = client }

    /// What is asked.
    package struct Question: Sendable, Hashable {
        package let feed: String
        package let id: String
        /// What the id's group is, and what is looked at, for lists in place of one of its own.
        package let segment: String?
        package let category: String?
        /// Entries wanted; nil for as many as the feed's lists have.
        package let k: Int?

        package init(
            feed: String,
            id: String,
            segment: String? = nil,
            category: String? = nil,
            k: Int? = nil
        ) {
            self.feed = feed
            self.id = id
            self.segment = segment
            self.category = category
            self.k = k
        }
    }

    /// The answer to one question; nil where the feed has no live release.
    package func lookup(_ question: Question) async throws(CacheError) -> Lookup? {
        try await lookup([question])[0]
    }

    /// An answer to each question; nil where the feed has no live release.
    package func lookup(_ questions: [Question]) async throws(CacheError) -> [Lookup?] {
        var answers = [Lookup?](repeating: nil, count: questions.count)
        var open = Array(questions.indices)
        // Twice for a feed that is asked for the first time or has changed; more often only if it
        // changes again within that millisecond.
        while !open.isEmpty {
            // Others may ask meanwhile, and learn of other heads.
            let known = heads
            let feeds = Set(open.map { questions[$0].feed }).sorted()
            var buffer = RESPBuffer()
            for feed in feeds { FeedHead.Version.ask(CacheKeys(feed: feed), in: &buffer) }
            let asked = open.map { place in
                let question = questions[place]
                return known[question.feed].map { ask(question, $0, in: &buffer) } ?? []
            }
            var replies = try await client.read(buffer)[...]
            var changed: [String: FeedHead.Version?] = [:]
            for feed in feeds {
                let version = FeedHead.Version(taking: &replies)
                if version == nil || version != known[feed]?.version { changed[feed] = version }
            }
            for (feed, version) in changed {
                // Typed throws end at a closure, so no map.
                if let version {
                    heads[feed] = try await FeedHead(of: feed, version, from: client)
                } else {
                    heads[feed] = nil
                }
            }
            var again: [Int] = []
            for (place, sources) in zip(open, asked) {
                let question = questions[place]
                let found = replies.prefix(sources.count)
                replies = replies.dropFirst(sources.count)
                if let version = changed[question.feed] {
                    if version != nil { again.append(place) }
                } else if let head = known[question.feed] {
                    answers[place] = try answer(question, head, sources, found)
                }
            }
            open = again
        }
        return answers
    }

    private typealias Asked = (source: Lookup.Source, key: [UInt8])

    /// Asks for the lists that may answer, the best first.
    private func ask(
        _ question: Question,
        _ head: FeedHead,
        in buffer: inout RESPBuffer
    ) -> [Asked] {
        let keys = CacheKeys(feed: question.feed)
        let release = head.release(for: question.id).0.number
        var asked: [Asked] = [(.list, keys.list(release, question.id.utf8))]
        for (source, value) in [(.segment, question.segment), (.category, question.category)]
            as [(Lookup.Source, String?)]
        {
            if let value {
                asked.append((source, Array(keys.fallback(release, source, value).utf8)))
            }
        }
        asked.append((.default, Array(keys.defaultList(release).utf8)))
        for (_, key) in asked {
            buffer.begin(2)
            buffer.append(argument: "GET".utf8)
            buffer.append(argument: key)
        }
        return asked
    }

    private func answer(
        _ question: Question,
        _ head: FeedHead,
        _ asked: [Asked],
        _ replies: some Sequence<Reply>
    ) throws(CacheError) -> Lookup {
        let (release, arm) = head.release(for: question.id)
        for (asked, reply) in zip(asked, replies) {
            guard case .bytes(let bytes) = reply else { continue }
            let key = String(decoding: asked.key, as: UTF8.self)
            guard let entries = release.format.decode(bytes) else {
                throw .damaged("the list at \(key) is not in the format \(release.format.rawValue)")
            }
            let shown = entries.lazy.filter { !head.hidden.contains($0.id) }
            return Lookup(
                release: release.number,
                arm: arm,
                source: asked.source,
                key: key,
                entries: Array(shown.prefix(question.k ?? release.k))
            )
        }
        throw .damaged(FeedHead.gone(question.feed, release.number))
    }
}
