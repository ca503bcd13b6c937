// SPDX-License-Identifier: Apache-2.0
import ArgumentParser
import CacheWriter
import Jobs

struct SplitCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "split",
        abstract:
            "Send shares of a feed's ids to different releases; without arms, show the split.",
        discussion: """
            larder split for-you A=42:90 B=43:10     90 of 100 ids read release 42, 10 read 43
            larder split for-you A=live:1 B=43:1     half follow the pointer
            larder split for-you --promote B         43 goes live, for all
            larder split for-you --end               all read the live release again

            An id stays in its arm while the salt stays. Every answer names the arm.
            """
    )

    @Argument(help: "The feed.") var feed: String
    @Argument(
        help: ArgumentHelp(
            "NAME=RELEASE:SHARE of each arm; the release may be `live`.",
            valueName: "arm"
        )
    )
    var arms: [String] = []
    @Option(
        help:
            "Divides ids otherwise than another salt. Default: that of the running split, or a new one."
    )
    var salt: String?
    @Option(help: "Make this arm's release live, and end the split.") var promote: String?
    @Flag(help: "End the split.") var end = false
    @OptionGroup var stores: StoreOptions

    func validate() throws {
        for text in arms where Split.Arm(text) == nil {
            throw ValidationError("\"\(text)\" is no arm: it looks like A=42:90 or B=live:10")
        }
        if arms.count == 1 { throw ValidationError("a split has two arms or more") }
        if Set(arms.compactMap { Split.Arm($0)?.name }).count < arms.count {
            throw ValidationError("two arms have the same name")
        }
        if let salt, !Split.isSalt(salt) {
            throw ValidationError("the salt must be letters, digits, dots, - and _, at most 64")
        }
        let wishes = [!arms.isEmpty, promote != nil, end].count { $0 }
        if wishes > 1 { throw ValidationError("give arms, --promote or --end, one of them") }
        if salt != nil && arms.isEmpty { throw ValidationError("--salt needs arms") }
    }

    func run() async throws {
        try await stores.withServices { services, _ in
            let running = try await services.servingRules.snapshot(feed: feed).split
            let split = running.flatMap { Split($0) }
            if !arms.isEmpty { return try await start(services, after: split) }
            if end || promote != nil { return try await finish(services, split) }
            try await show(services)
        }
    }

    private func start(_ services: Services, after running: Split?) async throws {
        let arms = arms.compactMap { Split.Arm($0) }
        let salt = salt ?? running?.salt ?? String(UInt32.random(in: 0...(.max)), radix: 36)
        guard let split = Split(salt: salt, arms: arms) else {
            throw SettingsError("these arms make no split")
        }
        let cache = services.cache(feed)
        guard let live = try await cache.live() else {
            throw SettingsError("feed \"\(feed)\" has no live release")
        }
        for release in Set(arms.compactMap(\.release)).sorted() {
            guard let stays = try await cache.expiry(of: release) else {
                throw SettingsError(
                    """
                    release \(release) of "\(feed)" is not in Redis
                    hint: `larder releases \(feed)` lists them; publish: keep: says how many stay
                    """
                )
            }
            if try await cache.storage(of: release)?.layout == .inPlace {
                throw SettingsError(
                    """
                    release \(release) of "\(feed)" was written in place: the next one overwrites its lists
                    hint: only the arm `live` can read such lists
                    """
                )
            }
            if stays < .seconds(7 * 86_400) {
                note(
                    "note: the lists of release \(release) expire in \(stays.components.seconds / 3600) h; its arm reads the live ones then"
                )
            }
        }
        try await services.servingRules.split(split.text, feed: feed)
        try await services.tellReaders(of: feed)
        // From here on they are not collected; they may have been a moment ago.
        for release in arms.compactMap(\.release) where try await cache.expiry(of: release) == nil {
            try await services.servingRules.split(nil, feed: feed)
            try await services.tellReaders(of: feed)
            throw SettingsError("release \(release) of \"\(feed)\" was collected just now")
        }
        if stores.json { return try Output.json(["split": split.text]) }
        print("\"\(feed)\" is split with salt \(salt); release \(live) is live")
        let total = arms.reduce(0) { $0 + $1.share }
        for arm in arms {
            print("  \(arm.name)  \(arm.share * 100 / total) %  release \(arm.release ?? live)")
        }
    }

    private func finish(_ services: Services, _ split: Split?) async throws {
        guard let split else {
            // Redis may hold one that a restored Postgres does not know.
            try await services.tellReaders(of: feed)
            throw SettingsError("\"\(feed)\" is not split")
        }
        if let promote {
            guard let arm = split.arms.first(where: { $0.name == promote }) else {
                throw SettingsError(
                    "the split has no arm \"\(promote)\", but \(split.arms.map(\.name).joined(separator: ", "))"
                )
            }
            let live = try await services.cache(feed).live()
            if let release = arm.release, release != live {
                try await services.move(feed, from: live, to: release)
            }
        }
        try await services.servingRules.split(nil, feed: feed)
        try await services.tellReaders(of: feed)
        let live = try await services.cache(feed).live()
        if stores.json { return try Output.json(["live": live]) }
        print(
            "\"\(feed)\" is not split any more; all read release \(live.map { "\($0)" } ?? "none")"
        )
    }

    private func show(_ services: Services) async throws {
        let splits = try await services.servingRules.splits(feed: feed)
        if stores.json { return try Output.json(splits) }
        Output.table(
            ["salt", "arms", "since", "until"],
            splits.map { entry in
                let words = entry.split.split(separator: " ", maxSplits: 1).map(String.init)
                return [words[0], words.last ?? "", entry.since, entry.until ?? ""]
            }
        )
    }
}
