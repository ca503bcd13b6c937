// SPDX-License-Identifier: Apache-2.0
import Artifacts
import Foundation
import Jobs
import Predictor
import Synchronization
import Tables

/// Events in, a dataset artifact out; nothing is done where the feed's last dataset was made of the
/// same.
struct PrepareStep {
    private let input: StepInput

    init(_ input: StepInput) { self.input = input }

    /// What the manifest of a dataset says beside its files.
    struct About: Codable, Sendable {
        let settings: DatasetSettings
        let summary: DatasetBuilder.Summary
    }

    func run() async throws -> JobResult {
        let settings = input.pipeline.dataset
        let feed = input.pipeline.feed
        let ledger = DatasetLedger(input.services.client)
        let last = try await ledger.latest(feed: feed)
        let artifact = try last.flatMap {
            try input.services.artifacts.lookUp(kind: "dataset", $0.dataset)
        }
        let madeOf = try fingerprint(settings)
        if let last, let artifact, let madeOf, last.madeOf == madeOf {
            let about = try artifact.manifest(About.self)
            return try JobResult(
                PrepareResult(dataset: artifact.id, summary: about.summary, sameAsRun: last.run)
            )
        }
        let base = try base(artifact, settings)
        let isNewStart = last != nil && base == nil && settings.vocabulary == .keep
        let (made, summary) = try build(settings, base ?? DatasetBuilder.Base())
        try await ledger.record(
            feed: feed,
            DatasetLedger.Entry(dataset: made.id, madeOf: madeOf, run: input.run),
            after: last?.dataset
        )
        return try JobResult(
            PrepareResult(
                dataset: made.id,
                summary: summary,
                newUsers: base.map { summary.knownUsers - $0.users.count },
                newItems: base.map { summary.knownItems - $0.items.count },
                startsAnew: isNewStart ? last?.dataset : nil
            )
        )
    }

    private func build(
        _ settings: DatasetSettings,
        _ base: DatasetBuilder.Base
    ) throws -> (Artifact, DatasetBuilder.Summary) {
        try input.progress(0, "reading \(settings.source.name)")
        let position = TableProgress()
        let size = settings.source.fileSize
        return try input.services.artifacts.add(kind: "dataset") { folder in
            let summary = try DatasetBuilder.build(
                settings,
                into: folder,
                base: base,
                tables: TableContext(database: input.services.database),
                position: position
            ) { [input] rows in
                guard let rows else { return try input.context.checkStop() }
                // Of a query nobody knows how many rows there are: the bar only shows that it moves.
                let share =
                    size.map {
                        Double(position.bytes.load(ordering: .relaxed)) / Double(max(1, $0))
                    }
                    ?? Double(rows) / Double(rows + 500_000)
                // The rest is ordering and writing.
                try input.progress(0.8 * min(1, share), "\(rows) rows read")
            }
            return (About(settings: settings, summary: summary), summary)
        }
    }

    /// The vocabulary to go on from; nil where it is to begin anew, or is of other ids.
    private func base(
        _ artifact: Artifact?,
        _ settings: DatasetSettings
    ) throws -> DatasetBuilder.Base? {
        // A manifest of another version is no reason to fail.
        guard settings.vocabulary == .keep, let artifact,
            let about = try? artifact.manifest(About.self),
            about.settings.columns.user == settings.columns.user,
            about.settings.columns.item == settings.columns.item
        else { return nil }
        return DatasetBuilder.Base(
            users: try Dataset.readUsers(from: artifact.folder),
            items: try Dataset.readItems(from: artifact.folder)
        )
    }

    /// A hash of the settings and of every file that is read; nil where a query may answer anew.
    private func fingerprint(_ settings: DatasetSettings) throws -> String? {
        var hash = ContentHash()
        hash.add("dataset \(DatasetBuilder.format)\n")
        hash.add(try JSON.text(settings))
        let sources = [settings.source, settings.users?.table, settings.items?.table]
        for source in sources.compactMap(\.self) {
            guard let pattern = source.pattern else { return nil }
            try input.progress(0, "looking whether \(source.name) has changed")
            if source.isRemote {
                let versions = try Table.versions(
                    ofAddresses: pattern,
                    check: input.context.checkStop
                )
                guard let versions else { return nil }
                for version in versions { hash.add("\n\(version)\n") }
                continue
            }
            for path in try Table.paths(matching: pattern) {
                hash.add("\n\(path)\n")
                try hash.add(file: path, check: input.context.checkStop)
            }
        }
        return hash.hex
    }
}
