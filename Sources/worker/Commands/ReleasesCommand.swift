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
                        $0.feed, String($0.number), $0.state, readers(of: $0, splits[$0.feed]),
                        String($0.run),
                        $0.lists.map(Output.count) ?? "", String($0.k), $0.format,
                        $0.bytes.map(Output.bytes) ?? "", churn(of: $0), $0.liveAt ?? "",
                    ]
                }
            )
        }
    }

    private func churn(of release: Releases.Release) -> String {
        guard let changed = release.changedLists, let items = release.newItems else { return "" }
        return String(format: "%.0f %%, %.1f items", changed * 100, items)
    }

    /// The share of ids that read a release, with its arms.
    private func readers(of release: Releases.Release, _ split: Split?) -> String {
        let isLive = release.state == "live"
        guard let split else { return isLive ? "all" : "" }
        let total = split.arms.reduce(0) { $0 + $1.share }
        return split.arms.filter { $0.release.map { $0 == release.number } ?? isLive }
            .map { "\($0.name) \($0.share * 100 / total) %" }.joined(separator: ", ")
    }
}
