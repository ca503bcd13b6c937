// SPDX-License-Identifier: Apache-2.0
import ArgumentParser
import CacheWriter
import Foundation
import Jobs

struct ReleasesCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "releases",
        abstract: "List the releases of all feeds, or of one."
    )

    @Argument(help: "Only of this feed.") var feed: String?
    @Option(help: "How many.") var limit = 50
    @OptionGroup var stores: StoreOptions

    func run() async throws {
        try await stores.withServices { services, _ in
            let releases = try await services.releases.list(feed: feed, limit: limit)
            if stores.json { return try Output.json(releases) }
            var splits: [String: Split] = [:]
            for feed in Set(releases.map(\.feed)) {
                splits[feed] = try await services.servingRules.snapshot(feed: feed).split
                    .flatMap { Split($0) }
            }
            Output.table(
                [
                    "feed", "release", "state", "readers", "run", "lists", "k", "format", "size",
                    "changed", "live since",
                ],
                releases.map {
                    [
                        $0.feed, String($0.number), $0.state, $0.readers(splits[$0.feed]),
                        String($0.run),
                        $0.lists.map(Output.count) ?? "", String($0.k), $0.format,
                        $0.bytes.map(Output.bytes) ?? "", $0.churnWords, $0.liveAt ?? "",
                    ]
                }
            )
        }
    }
}
