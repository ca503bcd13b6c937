// SPDX-License-Identifier: Apache-2.0
import ArgumentParser
import Foundation
import Predictor

struct DataCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "data",
        abstract: "Look at datasets, and make data to try things on.",
        subcommands: [ShowDataCommand.self, MakeDataCommand.self]
    )
}

struct MakeDataCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "make",
        abstract: "Synthetic events, with a pipeline to run on them.",
        discussion: "The same size and seed give the same bytes.",
        subcommands: [MakeSessionsCommand.self, MakeShopCommand.self]
    )
}

struct MakeSessionsCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "t4rec",
        abstract:
            "The sessions of Transformers4Rec's tutorial; manifest.json has the best possible result."
    )

    @OptionGroup var target: NewFolder
    @Option(help: "Events.") var rows = SessionData.rows

    func validate() throws {
        guard (1...1_000_000_000).contains(rows) else {
            throw ValidationError("--rows is 1 to 1e9")
        }
    }

    func run() throws {
        let folder = try target.make()
        try SessionData.write(to: folder, rows: rows, seed: target.seed)
        try target.report(rows: rows)
    }
}

struct MakeShopCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "shop",
        abstract: "A shop with tastes, favourites and a long tail, sessions in order, features."
    )

    @OptionGroup var target: NewFolder
    @Option(help: "Events.") var rows = 1_000_000
    @Option(help: "People; one for about thirty events by default.") var users: Int?
    @Option(help: "Items; by default as many as the square root of three times the events.")
    var items: Int?
    @Option(help: "Days that the events are spread over.") var days = 90

    func validate() throws {
        let sizes = [("rows", rows), ("users", users ?? 1), ("items", items ?? 1), ("days", days)]
        for (name, size) in sizes where !(1...2_000_000_000).contains(size) {
            throw ValidationError("--\(name) is 1 to 2e9")
        }
    }

    func run() throws {
        let folder = try target.make()
        let size = Shop.Size(
            events: rows,
            users: users ?? max(1, rows / 30),
            items: items ?? max(4, Int(Double(rows * 3).squareRoot())),
            days: days
        )
        try Shop.write(to: folder, size, seed: target.seed)
        try target.report(rows: rows)
    }
}

/// Where made data goes.
struct NewFolder: ParsableArguments {
    @Argument(help: "A folder that is new or empty.", completion: .directory) var folder: String
    @Option(help: "Decides everything random.") var seed = 1
    @Flag(help: "Machine-readable.") var json = false

    /// What stands in a folder is not overwritten.
    func make() throws -> String {
        let manager = FileManager.default
        if let content = try? manager.contentsOfDirectory(atPath: folder), !content.isEmpty {
            throw SettingsError("\(folder) is not empty\nhint: name a new folder")
        }
        do {
            try manager.createDirectory(atPath: folder, withIntermediateDirectories: true)
        } catch {
            throw SettingsError("cannot make the folder \(folder): \(error.localizedDescription)")
        }
        return folder
    }

    func report(rows: Int) throws {
        if json {
            struct Made: Encodable {
                let folder: String
                let rows: Int
            }
            return try Output.json(Made(folder: folder, rows: rows))
        }
        print(
            "\(Output.count(rows)) events in \(folder); try: larder run \(folder)/pipeline.yaml --follow"
        )
    }
}
