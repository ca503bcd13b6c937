// SPDX-License-Identifier: Apache-2.0
import ArgumentParser
import Jobs
import Predictor
import Tables

struct PredictCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "predict",
        abstract: "Show what a feed's live model makes of some items: nothing is written.",
        discussion: """
            For a look by hand at what would come next: larder predict next-item --session 50,172
            """
    )

    @Argument(help: "The feed.") var feed: String
    @Option(help: "Ids of items, oldest first, with commas between them.") var session: String
    @Option(name: [.customShort("k"), .long], help: "How many entries.") var count = 10
    @Flag(help: "Show titles beside ids.") var titles = false
    @OptionGroup var stores: StoreOptions

    private var ids: [String] {
        session.split(separator: ",").map(String.init)
    }

    func validate() throws {
        if ids.isEmpty { throw ValidationError("--session names no item") }
        if count < 1 { throw ValidationError("-k is \(count), but must be 1 or more") }
    }

    private struct Answer: Encodable {
        let feed: String
        let session: [String]
        let release: Int
        /// Whether the model knows any of the items; otherwise these are the most popular.
        let isKnown: Bool
        let entries: [ListEntry]
    }

    func run() async throws {
        try await stores.withServices { services, _ in
            let live = try await services.released(feed)
            if live.pipeline.model.isImported {
                throw SettingsError(
                    "feed \"\(feed)\" is of imported lists: there is no model to ask"
                )
            }
            let items = try ids.map { id in
                guard let item = live.dataset.items.index(of: id) else {
                    throw SettingsError(
                        "feed \"\(feed)\" has no item \"\(id)\" in the dataset of release \(live.release.number)"
                    )
                }
                return Int32(item)
            }
            let list = try Ranker(
                live.model,
                fallback: Popularity.train(live.dataset, on: .all),
                ListRules(k: count, excludesSeen: false)
            )
            .lists(for: [Query(history: items)])[0]
            let answer = Answer(
                feed: feed,
                session: ids,
                release: live.release.number,
                isKnown: !list.isCold,
                entries: zip(list.items, list.scores).map { item, score in
                    ListEntry(
                        id: live.dataset.items[Int(item)],
                        score: Double(score),
                        title: titles ? live.dataset.title(Int(item)) : nil
                    )
                }
            )
            if stores.json { return try Output.json(answer) }
            print(
                answer.isKnown
                    ? "after \(ids.joined(separator: ", ")), by the model of release \(live.release.number):"
                    : "the model of release \(live.release.number) knows none of these; the most popular:"
            )
            ListEntry.show(answer.entries)
        }
    }
}
