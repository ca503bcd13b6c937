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
    package struct Question: Sendable {
        package var feed: String
        package var id: String
        /// What the id's group is, and what is looked at, for lists in place of one of its own.
        package var segment: String?
        package var category: String?
        /// Whose arm of a split is to be read, in place of the id's own.
        package var arm: String?
        /// What a split goes by where that is not the id, so that all that one reader asks comes from
        /// one arm.
        package var reader: String?
        /// Entries wanted; nil for as many as the feed's lists have.
        package var k: Int?

        package init(
            feed: String,
            id: String,
            segment: String? = nil,
            category: String? = nil,
            arm: String? = nil,
            reader: String? = nil,
            k: Int? = nil
        ) {
            self.feed = feed
            self.id = id
            self.segment = segment
            self.category = category
            self.arm = arm
            self.reader = reader
            self.k = k
        }
    }

    /// What there is to a question; nil where the feed has no live release.
    package typealias Answer = Result<Lookup?, CacheError>

    /// The answer to one question; nil where the feed has no live release.
    package func lookup(_ question: Question) async throws(CacheError) -> Lookup? {
        try await lookup([question])[0].get()
    }

    /// An answer to each question; throws where Redis cannot be asked at all.
    package func lookup(_ questions: [Question]) async throws(CacheError) -> [Answer] {
        var answers = [Answer](repeating: .success(nil), count: questions.count)
        var open = Array(questions.indices)
        var forgotten: Set<String> = []
        // Twice for a feed that is asked for the first time or has changed; more often only if it
        // changes again within that millisecond.
        while !open.isEmpty {
            // Others may ask meanwhile, and learn of other heads.
            let known = heads
            let feeds = Set(open.map { questions[$0].feed }).sorted()
            var buffer = RESPBuffer()
            for feed in feeds { FeedHead.Version.ask(CacheKeys(feed: feed), in: &buffer) }
            var reads = Reads()
            let asked = open.map { place in
                let question = questions[place]
                return known[question.feed].map { ask(question, $0, &reads) }
            }
            buffer.append(reads.commands)
            var replies = try await client.ask(buffer)[...]
            var changes: [String: Change] = [:]
            for feed in feeds {
                changes[feed] = await change(of: feed, known[feed], taking: &replies)
            }
            let lists = Array(replies)
            var again: [Int] = []
            for (place, asked) in zip(open, asked) {
                let question = questions[place]
                let found = (asked?.lists ?? []).map { lists[$0.reply] }
                switch changes[question.feed] {
                case .changed: again.append(place)
                case .failed(let error): answers[place] = .failure(error)
                case .gone, nil: answers[place] = .success(nil)
                case .same(let head):
                    // An arm's release expires without a change of the head; read again, the head
                    // does not have it.
                    if let asked, asked.release.number != head.version.live,
                        found.allSatisfy({ $0 == .null }),
                        forgotten.insert(question.feed).inserted
                            || heads[question.feed] == nil
                    {
                        heads[question.feed] = nil
                        again.append(place)
                        continue
                    }
                    answers[place] = Result { () throws(CacheError) in
                        try asked.map { ask throws(CacheError) in
                            try answer(question, head, ask, found)
                        }
                    }
                }
            }
            open = again
        }
        return answers
    }

    private enum Change {
        case same(FeedHead)
        case changed
        /// No release is live.
        case gone
        case failed(CacheError)
    }

    private func change(
        of feed: String,
        _ known: FeedHead?,
        taking replies: inout ArraySlice<Reply>
    ) async -> Change {
        do {
            guard let version = try FeedHead.Version(taking: &replies) else {
                heads[feed] = nil
                return .gone
            }
            if let known, known.version == version { return .same(known) }
            heads[feed] = try await FeedHead(of: feed, version, from: client)
            return .changed
        } catch {
            return .failed(error)
        }
    }

    /// What is read in one round trip; once, however many ask for it, as all do for the default list.
    private struct Reads {
        private(set) var commands = RESPBuffer()
        private var replies: [ListKeys.Place: Int] = [:]

        /// Which reply is its list.
        mutating func read(_ place: ListKeys.Place) -> Int {
            if let reply = replies[place] { return reply }
            place.read(in: &commands)
            replies[place] = commands.count - 1
            return commands.count - 1
        }
    }

    /// The lists that may answer a question, the best first.
    private struct Asked {
        let release: FeedHead.Release
        let arm: String?
        let lists: [(source: Lookup.Source, place: ListKeys.Place, reply: Int)]
    }

    private func ask(_ question: Question, _ head: FeedHead, _ reads: inout Reads) -> Asked {
        let names = CacheKeys(feed: question.feed)
        let (release, arm) = head.release(for: question.reader ?? question.id, arm: question.arm)
        let own = ListKeys(names, release: release.number, release.layout)
        var lists = [(Lookup.Source.list, own.place(of: question.id.utf8))]
        func add(_ source: Lookup.Source, _ key: String) {
            lists.append((source, ListKeys.Place(key: Array(key.utf8), field: nil)))
        }
        for (source, value) in [(.segment, question.segment), (.category, question.category)]
            as [(Lookup.Source, String?)]
        {
            guard let value else { continue }
            add(source, own.fallback(source, value))
        }
        add(.default, own.defaultList)
        return Asked(
            release: release,
            arm: arm,
            lists: lists.map { ($0, $1, reads.read($1)) }
        )
    }

    private func answer(
        _ question: Question,
        _ head: FeedHead,
        _ asked: Asked,
        _ replies: [Reply]
    ) throws(CacheError) -> Lookup {
        let release = asked.release
        for ((source, place, _), reply) in zip(asked.lists, replies) {
            guard case .bytes(let list) = try reply.checked() else { continue }
            guard let entries = release.format.decode(list) else {
                throw .damaged(
                    "the list at \(place.text) is not in the format \(release.format.rawValue)"
                )
            }
            let shown = entries.lazy.filter { !head.hidden.contains($0.id) }
            return Lookup(
                release: release.number,
                arm: asked.arm,
                source: source,
                key: place.text,
                entries: Array(shown.prefix(question.k ?? release.k)),
                k: release.k,
                hasScores: release.format.hasScores,
                listsFor: release.listsFor,
                version: "\(release.number).\(head.version.rules ?? "0").\(asked.arm ?? "")"
                    // What is in place changes while its release goes on.
                    + (release.layout == .inPlace ? ".\(IDHash.of(list))" : "")
            )
        }
        throw .damaged(FeedHead.gone(question.feed, release.number))
    }
}
