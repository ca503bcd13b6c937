// SPDX-License-Identifier: Apache-2.0
import ArgumentParser
import Jobs
import Logging
import ServiceLifecycle

struct ServeCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "serve",
        abstract: "Lookups and a dashboard over HTTP, until told to stop.",
        discussion: """
            GET /v1/feeds/FEED/ID?k=10 gives a list; /openapi.json describes everything, /metrics is \
            for Prometheus, and / for people. With LARDER_TOKEN set, requests must send it as a \
            bearer token, and people sign in with it; then they may change things too. SIGTERM \
            answers what was asked and ends.
            """
    )

    @OptionGroup var server: ServerOptions
    @Option(help: "How log lines look: text or json.") var logFormat: WorkerOptions.LogFormat =
        .text
    @OptionGroup var stores: StoreOptions

    func run() async throws {
        // Lookups are answered from Redis alone, whatever state Postgres is in.
        try await stores.withServices(schema: .unasked) { services, _ in
            let logger = logFormat.logger(.warning)
            let service = server.service(services, logger)
            try await ServiceGroup(draining: [service], logger: logger).run()
        }
    }
}
