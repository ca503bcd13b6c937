// SPDX-License-Identifier: Apache-2.0
import ArgumentParser
import CacheWriter
import Foundation
import Jobs
import Predictor
import Tables

struct WhyCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "why",
        abstract: "Tell why an id is served what it is, or why an item is in its list or not.",
        discussion: """
            From the live list in Redis back to the release, the model, the dataset and the events \
            it was made from; the model is asked again.
            """
    )

    @Argument(help: "The feed.") var feed: String
    @Argument(help: "A user's or an item's id.") var id: String
    @Argument(help: "An item.") var item: String?
    @OptionGroup var stores: StoreOptions

    private struct Answer: Encodable {
        struct Event: Encodable {
            let item: String
            let title: String?
            /// In UTC; nil where the source has no time.
            let time: String?
        }

        /// A thing of the list, or the one that was asked about.
        struct Entry: Encodable {
            let item: String
            let title: String?
            /// In what is served, from 1.
            let place: Int?
            /// Among all items that may be listed, from 1, and its score there.
            var rank: Int?
            var score: Float?
            /// Why it is not in the list.
            var absence: String?
            /// The nearest things of the history in the model's own vectors, nearest first.
            var near: [Near] = []
        }

        struct Near: Encodable {
            let item: String
            let title: String?
            let cosine: Float
        }

        let feed: String
        let id: String
        let release: Int
        let run: Int
        let model: String
        let kind: String
        let dataset: String
        /// `list`, or `default`; then `whyDefault` says why.
        let source: String
        let whyDefault: String?
        let listLength: Int
        /// How many events the list was made from, and the newest of them.
        let history: Int
        let events: [Event]
        let entries: [Entry]
        /// Whether the model, asked again, answers with what is served.
        let isAsServed: Bool?
    }

    func run() async throws {
        try await stores.withServices { services, _ in
            guard let found = try await services.reader.lookup(.init(feed: feed, id: id)) else {
                throw SettingsError(
                    "feed \"\(feed)\" has no live release\nhint: `larder releases` lists all feeds"
                )
            }
            let released = try await services.released(feed, found.release)
            if released.pipeline.predict.isOfUsers {
                throw SettingsError(
                    "feed \"\(feed)\" has lists of users; `larder why` explains lists of items"
                )
            }
            let hidden = try await services.servingRules.snapshot(feed: feed).hidden
            let answer = try answer(released, found, hidden: Set(hidden.map(\.item)))
            if stores.json { return try Output.json(answer) }
            show(answer)
        }
    }

    private func answer(
        _ released: Released,
        _ found: Lookup,
        hidden: Set<String>
    ) throws -> Answer {
        let dataset = released.dataset
        let maker = try released.maker()
        let owner = maker.ids.index(of: id).map { Int($0) }
        let query = owner.map(maker.query)
        let used = Array(query?.history.suffix(released.pipeline.predict.rules.history) ?? [])
        let made = try owner.map { try maker.lists([$0])[0] }
        let all = try query.map { try ranking(released, maker, $0) }
        let similarities = ItemSimilarities(released.model)
        func entry(_ name: String) -> Answer.Entry {
            let place = found.entries.firstIndex { $0.id == name }.map { $0 + 1 }
            guard let index = dataset.items.index(of: name) else {
                var entry = Answer.Entry(item: name, title: nil, place: place)
                entry.absence = place == nil ? "no event that was read has it" : nil
                return entry
            }
            var entry = Answer.Entry(item: name, title: dataset.title(Int(index)), place: place)
            let rank = all?.items.firstIndex(of: Int32(index))
            entry.rank = rank.map { $0 + 1 }
            entry.score = rank.flatMap { all?.scores[$0] }
            if place == nil {
                entry.absence =
                    hidden.contains(name)
                    ? "it is hidden (see `larder hide \(feed)`)"
                    : absence(Int32(index), released, query, entry, found)
            }
            entry.near = near(Int32(index), used, dataset, similarities)
            return entry
        }
        // What stands in an imported list has happened to nobody.
        let isImported = released.pipeline.model.isImported
        let names = item.map { [$0] } ?? found.entries.prefix(5).map(\.id)
        return Answer(
            feed: feed,
            id: id,
            release: found.release,
            run: released.release.run,
            model: released.release.model,
            kind: released.about.settings.kind,
            dataset: released.about.dataset,
            source: found.source.rawValue,
            whyDefault: found.source != .list ? whyDefault(owner, maker, made) : nil,
            listLength: found.entries.count,
            history: isImported ? 0 : used.count,
            events: isImported ? [] : events(query, dataset),
            entries: names.map(entry),
            isAsServed: found.source != .list
                ? nil
                : made.map { list in
                    let shown = list.items.map { dataset.items[Int($0)] }
                        .filter { !hidden.contains($0) }.prefix(found.k)
                    return Array(shown) == found.entries.map(\.id)
                }
        )
    }

    /// The three things of the history that are nearest to an item.
    private func near(
        _ item: Int32,
        _ history: [Int32],
        _ dataset: Dataset,
        _ similarities: ItemSimilarities?
    ) -> [Answer.Near] {
        guard let similarities else { return [] }
        var cosines: [(item: Int32, cosine: Float)] = []
        for had in Set(history) where had != item {
            if let cosine = similarities.cosine(item, had) { cosines.append((had, cosine)) }
        }
        return cosines.sorted { ($1.cosine, $0.item) < ($0.cosine, $1.item) }.prefix(3).map { had in
            Answer.Near(
                item: dataset.items[Int(had.item)],
                title: dataset.title(Int(had.item)),
                cosine: had.cosine
            )
        }
    }

    /// Everything that may be listed, best first; where lists are ranked, what is ranked.
    private func ranking(
        _ released: Released,
        _ maker: ListMaker,
        _ query: Query
    ) throws -> RankedList {
        var rules = released.pipeline.predict.rules
        // Only the candidates are put in another order; the others cannot be in the list.
        rules.k =
            released.pipeline.rank.map { max(rules.k, $0.candidates) }
            ?? released.dataset.items.count
        let ranker = try Ranker(
            released.model,
            fallback: Popularity.train(released.dataset, on: .all),
            rules,
            rank: released.rank
        )
        return try maker.lists([query], by: ranker)[0]
    }

    private func absence(
        _ item: Int32,
        _ released: Released,
        _ query: Query?,
        _ entry: Answer.Entry,
        _ found: Lookup
    ) -> String {
        if (try? released.hidden.contains(released.dataset.items[Int(item)])) == true {
            return "it was hidden when the list was made (see `larder hide \(feed)`)"
        }
        guard let query else { return "the default list does not have it" }
        let isItself = released.pipeline.predict.audience == .items && query.history == [item]
        if isItself { return "a list does not have the item itself" }
        if released.pipeline.predict.rules.excludesSeen, query.history.contains(item) {
            return "it was had before, and the pipeline excludes what was seen"
        }
        if released.model.rows[Int(item)] < 0 {
            return "the model does not know it: too few events, or none that it learned from"
        }
        guard let rank = entry.rank else {
            return released.pipeline.rank.map {
                "it is not among the \($0.candidates) candidates that are ranked"
            } ?? "the model does not offer it"
        }
        return "it is number \(rank), and the list ends at \(found.entries.count)"
    }

    private func whyDefault(_ owner: Int?, _ maker: ListMaker, _ made: RankedList?) -> String {
        guard let owner else { return "no event that was read has \(id)" }
        if !maker.isAsking(owner) {
            return "\(id) has no event, or none of late: see predict: recent"
        }
        if made?.isCold == true { return "the model knows nothing of \(id)" }
        return "its list is not in Redis: did Redis lose it?"
    }

    /// The newest five, newest first.
    private func events(_ query: Query?, _ dataset: Dataset) -> [Answer.Event] {
        guard let query else { return [] }
        return query.history.indices.suffix(5).reversed().map { place in
            let item = Int(query.history[place])
            let seconds = query.events.isEmpty ? 0 : dataset.eventTimes[Int(query.events[place])]
            return Answer.Event(
                item: dataset.items[item],
                title: dataset.title(item),
                time: seconds == 0
                    ? nil : Date(timeIntervalSince1970: Double(seconds)).ISO8601Format()
            )
        }
    }

    // MARK: for people

    private func show(_ answer: Answer) {
        func name(_ item: String, _ title: String?) -> String {
            title.map { "\(item) (\($0))" } ?? item
        }
        print(
            """
            \(feed) for \(id): \(answer.source == "list" ? "a list of its own" : "the default list"), \(answer.listLength) items, \
            release \(answer.release) of run \(answer.run)
            """
        )
        if let why = answer.whyDefault { print("  because \(why)") }
        print(
            """
            made by \(answer.kind) \(answer.model.prefix(12)), of dataset \(answer.dataset.prefix(12)), from \
            \(Output.count(answer.history)) events\(answer.events.isEmpty ? "" : ", the newest:")
            """
        )
        for event in answer.events {
            print("  \(event.time.map { "\($0)  " } ?? "")\(name(event.item, event.title))")
        }
        for entry in answer.entries {
            let place = entry.place.map { "number \($0)" } ?? "not in the list"
            print("\n\(name(entry.item, entry.title)): \(place)")
            if let absence = entry.absence { print("  because \(absence)") }
            if let score = entry.score { print("  score \(score)") }
            for near in entry.near {
                print(
                    "  \(String(format: "%.3f", near.cosine)) near \(name(near.item, near.title))"
                )
            }
        }
        if answer.isAsServed == false {
            print("\nasked again, the model answers otherwise than what is served")
        }
    }
}
