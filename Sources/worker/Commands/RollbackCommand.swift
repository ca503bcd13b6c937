// SPDX-License-Identifier: Apache-2.0
import ArgumentParser
import CacheWriter
import Jobs

struct RollbackCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "rollback",
        abstract: "Move a feed's pointer back to an earlier release.",
        discussion: "Readers follow within the time they cache the pointer, at most 5 s."
    )

    @Argument(help: "The feed.") var feed: String
    @Argument(help: "The release. Default: the one that was live before.") var release: Int?
    @OptionGroup var stores: StoreOptions

    func run() async throws {
        try await stores.withServices { services, _ in
            let (live, target) = try await services.rollBack(feed, to: release)
            if let split = try await services.cache(feed).split() {
                note(
                    """
                    note: the feed is split, and only arms that read `live` follow: \
                    \(split.arms.map(\.text).joined(separator: " "))
                    hint: `larder split \(feed) --end` sends everybody to the live release
                    """
                )
            }
            if stores.json { return try Output.json(["from": live, "to": target]) }
            print("release \(target) of \"\(feed)\" is live; it was \(live)")
        }
    }
}
