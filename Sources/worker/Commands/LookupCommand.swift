// SPDX-License-Identifier: Apache-2.0
import ArgumentParser
import Artifacts
import CacheWriter
import Jobs
import Predictor
import Tables

struct LookupCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "lookup",
        abstract: "Show what a downstream service gets for an id."
    )

    @Argument(help: "The feed.") var feed: String
    @Argument(help: "A user's or an item's id.") var id: String
    @Option(
        name: [.customShort("k"), .long],
        help: "How many entries. Default: as many as the feed's lists have."
    )
    var count: Int?
    @Option(help: "What the id's group is, for when it has no list of its own.")
    var segment: String?
    @Option(help: "What is looked at, for when neither has a list.")
    var category: String?
    @Flag(help: "Show titles beside ids, from the release's dataset.")
    var titles = false
    @OptionGroup var stores: StoreOptions

    func validate() throws {
        if id.isEmpty { throw ValidationError("the id is empty") }
        if let count, count < 1 { throw ValidationError("-k is \(count), but must be 1 or more") }
    }

    private struct Answer: Encodable {
        let feed: String
        let id: String
        let title: String?
        let release: Int
        let arm: String?
        let source: Lookup.Source
        let key: String
        let entries: [ListEntry]
    }

    func run() async throws {
        try await stores.withServices { services, _ in
            let question = FeedReader.Question(
                feed: feed,
                id: id,
                segment: segment,
                category: category,
                k: count
            )
            guard let found = try await services.reader.lookup(question) else {
                throw SettingsError(
                    "feed \"\(feed)\" has no live release\nhint: `larder releases` lists all feeds"
                )
            }
            let dataset = titles ? try await dataset(services, found.release) : nil
            func title(_ id: String) -> String? {
                dataset.flatMap { set in set.items.index(of: id).flatMap { set.title($0) } }
            }
            let answer = Answer(
                feed: feed,
                id: id,
                title: found.isForItems ? title(id) : nil,
                release: found.release,
                arm: found.arm,
                source: found.source,
                key: found.key,
                entries: found.entries.map {
                    ListEntry(
                        id: $0.id,
                        score: $0.score,
                        title: found.isOfItems ? title($0.id) : nil
                    )
                }
            )
            if stores.json { return try Output.json(answer) }
            show(answer)
        }
    }

    private func show(_ answer: Answer) {
        let name = answer.title.map { "\(answer.id) (\($0))" } ?? answer.id
        let list =
            switch answer.source {
            case .list: "\(feed) for \(name)"
            case .segment: "\(feed) has no list for \(name); that of the segment \(segment ?? "")"
            case .category:
                "\(feed) has no list for \(name); that of the category \(category ?? "")"
            case .default: "\(feed) has no list for \(name); the default list"
            }
        let arm = answer.arm.map { ", arm \($0)" } ?? ""
        print("\(list)\(answer.source == .list ? "," : " of") release \(answer.release)\(arm):")
        ListEntry.show(answer.entries)
    }

    private func dataset(
        _ services: Services,
        _ number: Int
    ) async throws -> Dataset {
        guard let release = try await services.releases.find(feed: feed, number: number) else {
            throw SettingsError("release \(number) of \"\(feed)\" is not in the ledger")
        }
        let folder = try services.artifacts.get(kind: "dataset", release.dataset).folder
        return try Dataset(from: folder)
    }
}

/// An item of a list, as commands show it.
struct ListEntry: Encodable {
    let id: String
    let score: Double?
    let title: String?

    static func show(_ entries: [ListEntry]) {
        for (place, entry) in entries.enumerated() {
            let score = entry.score.map { "  \($0)" } ?? ""
            print("\(place + 1). \(entry.id)\(entry.title.map { "  \($0)" } ?? "")\(score)")
        }
    }
}
