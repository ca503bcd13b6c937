// SPDX-License-Identifier: Apache-2.0
import ArgumentParser
import CacheWriter
import Foundation
import Postgres
import Predictor
import Synchronization
import Tables

struct PlanCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "plan",
        abstract: "What a run of a pipeline will need, from its first rows; nothing is enqueued.",
        discussion: """
            Rows of files are estimated by their size, those of queries only if the sample holds \
            them all. Tables of users and items are read whole. A postgres: source without a \
            server: is read from the one that --database-url or the environment names.
            """
    )

    @Argument(help: "The pipeline file.", completion: .file()) var pipeline: String
    @Option(help: "Rows that are read.") var rows = 500_000
    @Option(help: "Postgres, for a source in the server that holds the queue.")
    var databaseURL: String?
    @Flag(help: "Machine-readable.") var json = false

    func validate() throws {
        guard rows > 0 else { throw ValidationError("--rows is \(rows), but must be 1 or more") }
    }

    private struct Answer: Encodable {
        let sample: Int
        /// Bytes of Redis, for each release that is kept.
        let redis: Int
        let lists: Int
        /// Bytes of memory that the larger of the trainings takes; nil where it is next to nothing.
        let training: Int?
        let estimate: DatasetEstimate
        let read: ReadReport
    }

    func run() throws {
        let pipeline = try PipelineParser.parse(file: pipeline)
        var settings = pipeline.dataset
        // What is kept back changes no size, and the first rows may all be of one part.
        settings.split = .leaveLastOne(validation: false)
        let place = try ScratchFolder()
        let position = TableProgress()
        let database = databaseURL ?? StoreOptions.databaseOfEnvironment
        let summary = try DatasetBuilder.build(
            settings,
            into: place.path,
            tables: TableContext(database: database.map { ConnectionSettings($0) }),
            limits: DatasetBuilder.Limits(rows: rows),
            position: position
        )
        let isWhole = summary.read.rows < rows
        let total = isWhole ? summary.read.rows : estimatedRows(settings, summary, position)
        let dataset = try Dataset(from: place.path)
        let estimate = DatasetEstimate(
            summary,
            dataset,
            rows: total,
            bytes: try size(of: place.path),
            sequencesAreUsers: settings.sessions.by == .users
        )
        let lists = pipeline.owners == .items ? estimate.items : estimate.users
        let answer = Answer(
            sample: summary.read.rows,
            redis: lists * bytesOfList(pipeline, dataset),
            lists: lists,
            training: memory(pipeline, estimate, dataset.schema),
            estimate: estimate,
            read: summary.read
        )
        if json { return try Output.json(answer) }
        show(answer, pipeline, isKnown: total != nil)
    }

    /// Nil where only the source knows.
    private func estimatedRows(
        _ settings: DatasetSettings,
        _ summary: DatasetBuilder.Summary,
        _ position: TableProgress
    ) -> Int? {
        let bytes = position.bytes.load(ordering: .relaxed)
        guard let size = settings.source.fileSize, bytes > 0 else { return nil }
        return Int(Double(summary.read.rows) * Double(size) / Double(bytes))
    }

    /// Of networks, whose embeddings are what takes memory.
    private func memory(_ pipeline: Pipeline, _ estimate: DatasetEstimate, _ schema: Schema) -> Int?
    {
        [pipeline.model, pipeline.rank?.model].compactMap { model in
            switch model {
            case .twoTower(let settings):
                settings.memory(users: estimate.users, items: estimate.items, schema)
            case .sessionTransformer(let settings): settings.memory(items: estimate.items)
            case .ratingMLP(let settings):
                settings.memory(users: estimate.users, items: estimate.items, schema)
            default: nil
            }
        }.max()
    }

    private func size(of folder: String) throws -> Int {
        let manager = FileManager.default
        return try manager.contentsOfDirectory(atPath: folder).reduce(0) { sum, name in
            let attributes = try manager.attributesOfItem(atPath: "\(folder)/\(name)")
            return sum + (attributes[.size] as? Int ?? 0)
        }
    }

    /// A list, its key, and what Redis adds for each key: about 90 bytes; of lists that share a hash the id, and
    /// about 24.
    private func bytesOfList(_ pipeline: Pipeline, _ dataset: Dataset) -> Int {
        let predict = pipeline.predict
        let owners = dataset.ids(of: pipeline.owners)
        let id = owners.ids.bytes.count / max(1, owners.count)
        let around =
            pipeline.publish.compact == true
            ? 24 + id : 90 + "rec:\(pipeline.feed):live:".utf8.count + id
        let entries = predict.isOfUsers ? dataset.users : dataset.items
        let items = min(1000, entries.count)
        let encoder = ListEncoder(
            ListFormat(rawValue: pipeline.publish.format) ?? .json,
            ids: (0..<items).map { entries[$0] }
        )
        let list = encoder.encode(
            Array(0..<Int32(items)),
            scores: [Float](repeating: 0.123456, count: items)
        )
        return around + min(predict.served.k, entries.count) * list.count / max(1, items)
    }

    /// To two digits.
    private static func rounded(_ value: Int) -> Int {
        var unit = 1
        while value / unit >= 100 { unit *= 10 }
        return (value + unit / 2) / unit * unit
    }

    private func show(_ answer: Answer, _ pipeline: Pipeline, isKnown: Bool) {
        let estimate = answer.estimate
        // Of a sample alone everything is exact.
        let isExact = estimate.isExact || !isKnown
        let about = isExact ? "" : "about "
        func count(_ value: Int) -> String {
            about + Output.count(isExact ? value : Self.rounded(value))
        }
        print(
            estimate.isExact
                ? "\(pipeline.dataset.source.name): all \(Output.count(answer.sample)) rows read"
                : "\(pipeline.dataset.source.name): the first \(Output.count(answer.sample)) rows read"
        )
        for line in answer.read.lines { print("  \(line)") }
        if !isKnown {
            print(
                """
                how many rows there are is not known before they are read: what follows is of the \
                sample alone
                """
            )
        }
        Output.table(
            ["", "", ""],
            [
                ["rows", count(estimate.rows), ""],
                ["events", count(estimate.events), "that are kept"],
                ["users", count(estimate.users), ""],
                ["items", count(estimate.items), ""],
                [
                    "sequences", count(estimate.sequences),
                    String(
                        format: "%.1f events each",
                        Double(estimate.events) / Double(max(1, estimate.sequences))
                    ),
                ],
                ["memory of prepare", "at most " + Output.bytes(estimate.memory), ""],
                [
                    "memory of training",
                    answer.training.map { about + Output.bytes($0) } ?? "little",
                    (answer.training ?? 0) > TrainingMemory.available
                        ? "more than the \(Output.bytes(TrainingMemory.available)) of this machine: it will be refused"
                        : "",
                ],
                [
                    "disk", about + Output.bytes(estimate.dataset),
                    estimate.temporaryDisk > 0
                        ? "and \(Output.bytes(estimate.temporaryDisk)) while it is prepared" : "",
                ],
                [
                    "lists", count(answer.lists),
                    "of \(pipeline.predict.rules.k) for \(pipeline.predict.listsFor)",
                ],
                [
                    "Redis", about + Output.bytes(answer.redis),
                    pipeline.publish.inPlace == true
                        ? "written in place"
                        : "for each of \(pipeline.publish.keep) releases, and one more while it is written",
                ],
            ]
        )
    }
}
