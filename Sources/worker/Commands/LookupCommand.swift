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
    @Option(name: [.customShort("k"), .long], help: "How many entries. Default: all.")
    var count: Int?
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
        let source: String
        let key: String
        let entries: [ListEntry]
    }

    func run() async throws {
        try await stores.withServices { services, _ in
            guard let found = try await services.lookup(feed, id, k: count) else {
                throw SettingsError(
                    "feed \"\(feed)\" has no live release\nhint: `larder releases` lists all feeds"
                )
            }
            let (release, dataset) =
                titles ? try await dataset(services, found.release) : (nil, nil)
            func title(_ id: String) -> String? {
                dataset.flatMap { set in set.items.index(of: id).flatMap { set.title($0) } }
            }
            let answer = Answer(
                feed: feed,
                id: id,
                title: release?.listsFor == Audience.items.rawValue ? title(id) : nil,
                release: found.release,
                source: found.source.rawValue,
                key: found.key,
                entries: found.entries.map {
                    ListEntry(id: $0.id, score: $0.score, title: title($0.id))
                }
            )
            if stores.json { return try Output.json(answer) }
            show(answer)
        }
    }

    private func show(_ answer: Answer) {
        let name = answer.title.map { "\(answer.id) (\($0))" } ?? answer.id
        print(
            answer.source == "list"
                ? "\(feed) for \(name), release \(answer.release):"
                : "\(feed) has no list for \(name); the default list of release \(answer.release):"
        )
        ListEntry.show(answer.entries)
    }

    private func dataset(
        _ services: Services,
        _ number: Int
    ) async throws -> (Releases.Release, Dataset) {
        guard let release = try await services.releases.find(feed: feed, number: number) else {
            throw SettingsError("release \(number) of \"\(feed)\" is not in the ledger")
        }
        let folder = try services.artifacts.get(kind: "dataset", release.dataset).folder
        return (release, try Dataset(from: folder))
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
