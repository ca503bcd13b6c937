// SPDX-License-Identifier: Apache-2.0
import ArgumentParser
import Artifacts
import CacheWriter
import Jobs
import Predictor
import Tables

struct HideCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "hide",
        abstract:
            "Take items out of every list of a feed, at once; without items, list those hidden.",
        discussion: """
            Readers leave hidden items out from their next lookup on, and no new list has them, \
            until `larder unhide`.
            """
    )

    @Argument(help: "The feed.") var feed: String
    @Argument(help: "The ids of items.") var items: [String] = []
    @OptionGroup var stores: StoreOptions

    func validate() throws { try ServingRules.check(items) }

    func run() async throws {
        try await stores.withServices { services, _ in
            guard !items.isEmpty else { return try await list(services) }
            try await services.hide(items, of: feed)
            let hidden = try await services.servingRules.snapshot(feed: feed).hidden
            for item in try await services.strangers(items, feed) {
                note("note: no event that \"\(feed)\" was made from has \"\(item)\"")
            }
            if stores.json { return try Output.json(hidden) }
            print("\(hidden.count) items of \"\(feed)\" are hidden")
        }
    }

    private func list(_ services: Services) async throws {
        let hidden = try await services.servingRules.snapshot(feed: feed).hidden
        if stores.json { return try Output.json(hidden) }
        Output.table(["item", "hidden since"], hidden.map { [$0.item, $0.hiddenAt] })
    }
}

struct UnhideCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "unhide",
        abstract: "Bring hidden items of a feed back.",
        discussion: """
            Lists that have them show them again from the next lookup on; lists that were made \
            meanwhile, from the next release on.
            """
    )

    @Argument(help: "The feed.") var feed: String
    @Argument(help: "The ids of items.") var items: [String]
    @OptionGroup var stores: StoreOptions

    func validate() throws { try ServingRules.check(items) }

    func run() async throws {
        try await stores.withServices { services, _ in
            let before = try await services.servingRules.snapshot(feed: feed).hidden
            try await services.unhide(items, of: feed)
            let hidden = try await services.servingRules.snapshot(feed: feed).hidden
            for item in items where !before.contains(where: { $0.item == item }) {
                note("note: \"\(item)\" was not hidden")
            }
            if stores.json { return try Output.json(hidden) }
            print("\(hidden.count) items of \"\(feed)\" are hidden")
        }
    }
}

extension ServingRules {
    fileprivate static func check(_ items: [String]) throws {
        if items.contains("") { throw ValidationError("the id of an item is empty") }
    }
}

extension Services {
    /// Those that the live release knows nothing of: most likely misspelt.
    fileprivate func strangers(_ items: [String], _ feed: String) async throws -> [String] {
        guard let release = try await releases.find(feed: feed),
            let folder = try? artifacts.get(kind: "dataset", release.dataset).folder
        else { return [] }
        let isOfUsers = try await pipeline(of: release.run).predict.isOfUsers
        let known =
            isOfUsers ? try Dataset.readUsers(from: folder) : try Dataset.readItems(from: folder)
        return items.filter { known.index(of: $0) == nil }
    }
}
