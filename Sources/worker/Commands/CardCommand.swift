// SPDX-License-Identifier: Apache-2.0
import ArgumentParser
import Foundation

struct CardCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "card",
        abstract: "Write a run as a page: steps, data, arms, quality, gates, lists.",
        discussion: "One HTML file that needs no other and no network. - writes it to the output."
    )

    @Argument(help: "The run's number.") var run: Int
    @Argument(help: "The file. Default: run-N.html.", completion: .file(extensions: ["html"]))
    var file: String?
    @OptionGroup var stores: StoreOptions

    func run() async throws {
        try await stores.withServices { services, _ in
            let page = try await Card(run, services).page.description
            let path = file ?? "run-\(run).html"
            if path == "-" { return print(page, terminator: "") }
            do {
                try page.write(toFile: path, atomically: true, encoding: .utf8)
            } catch {
                throw SettingsError("cannot write \(path): \(error.localizedDescription)")
            }
            if stores.json { return try Output.json(["file": path]) }
            print("\(path): \(Output.bytes(page.utf8.count))")
        }
    }
}
