// SPDX-License-Identifier: Apache-2.0
import ArgumentParser
import Hummingbird

/// The web server that `larder serve` is made of, with next to nothing in it: what serving could cost at least.
struct EchoBenchCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "echo",
        abstract: "A bare Hummingbird server, to measure `larder serve` beside.",
        shouldDisplay: false
    )

    @Option(help: "The port to listen on.") var port: Int
    @Option(help: "Bytes of an answer.") var bytes = 400

    func run() async throws {
        let router = Router()
        let body = String(repeating: "x", count: bytes)
        router.get("v1/feeds/:feed/:id") { _, context in
            // What was asked is looked at, as anybody would.
            try context.parameters.require("id") + body
        }
        try await Application(
            router: router,
            configuration: ApplicationConfiguration(address: .hostname("127.0.0.1", port: port))
        ).runService()
    }
}
