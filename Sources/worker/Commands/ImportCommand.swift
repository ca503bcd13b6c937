// SPDX-License-Identifier: Apache-2.0
import ArgumentParser
import CacheWriter
import Foundation
import Tables
import Yams

struct ImportCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "import",
        abstract: "Publish lists that another program made.",
        discussion: """
            A row for each entry: whose list, which item, perhaps a score. They become a release like \
            any other: the same gates, formats and fallbacks, `larder rollback`, `hide`, `split`. \
            docs/data.md shows the pipeline file that does the same by the clock.
            """
    )

    @Argument(help: "The feed.") var feed: String
    @Argument(
        help:
            "A file or pattern: csv, tsv, jsonl (.gz, .zst), parquet; or an address, but of parquet.",
        completion: .file()
    )
    var table: String

    @Option(help: "The column of whose list it is.") var id = "user"
    @Option(help: "The column of the item.") var item = "item"
    @Option(
        help:
            "The column that lists are ordered by, the highest first, in single precision. Default: as the rows stand."
    )
    var score: String?
    @Option(name: .customLong("for"), help: "What lists are for: users or items.")
    var audience = "users"
    @Option(name: [.customShort("k"), .long], help: "Entries of a list at most.") var count = 50
    @Option(help: "json, packed; with a score json-scored, packed-scored.") var format = "json"
    @Option(help: "How long the lists stay in Redis.") var expire = "7d"
    @Option(help: "What must hold before they go live, such as \"overlap-with-live@10 >= 0.2\".")
    var gate: [String] = []
    @OptionGroup var options: RunOptions

    func run() async throws {
        let pipeline = try pipeline()
        if score == nil, !options.stores.json {
            note("note: lists have the order of the rows; --score COLUMN orders them")
        }
        try await options.run(pipeline)
    }

    /// The pipeline file that one would write for it.
    private func pipeline() throws -> Pipeline {
        var model: Node = ["kind": "lists"]
        if let score { model["score"] = Node(score) }
        let root: Node = [
            "feed": text(feed),
            "dataset": [
                "source": [Node(try kind().rawValue): text(table)],
                "columns": ["user": text(id), "item": text(item)],
            ],
            "model": model,
            "check": Node(gate.map(text)),
            "predict": ["for": text(audience), "k": Node(String(count))],
            "publish": ["expire": text(expire), "format": text(format)],
        ]
        do {
            return try PipelineParser.parse(
                Yams.serialize(node: root),
                name: "",
                folder: FileManager.default.currentDirectoryPath
            )
        } catch let error as PipelineError {
            // There is no file that the lines would be of.
            let lines = error.description.split(separator: "\n")
            throw PipelineError(
                description: lines.map { String($0.trimmingPrefix(#/:[0-9]+: /#)) }
                    .joined(separator: "\n")
            )
        }
    }

    /// As text, whatever it looks like.
    private func text(_ value: String) -> Node { Node(value, Tag(.str), .singleQuoted) }

    private func kind() throws -> TableSource.Kind {
        // An address may have signatures behind its path.
        let path = table.contains("://") ? URL(string: table)?.path ?? table : table
        var name = path.lowercased()
        for suffix in [".gz", ".zst"] where name.hasSuffix(suffix) {
            name.removeLast(suffix.count)
        }
        let kinds: [(String, TableSource.Kind)] = [
            (".csv", .csv), (".tsv", .tsv), (".jsonl", .jsonl), (".ndjson", .jsonl),
            (".parquet", .parquet),
        ]
        guard let kind = kinds.first(where: { name.hasSuffix($0.0) })?.1 else {
            throw ValidationError(
                "\(table) does not end in .csv, .tsv, .jsonl or .parquet, nor with .gz or .zst behind it"
            )
        }
        return kind
    }
}
