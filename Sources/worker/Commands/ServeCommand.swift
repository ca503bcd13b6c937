// SPDX-License-Identifier: Apache-2.0
import ArgumentParser
import Foundation
import Jobs
import Logging
import ServiceLifecycle

struct ServeCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "serve",
        abstract: "Answer lookups over HTTP, until told to stop.",
        discussion: """
            GET /v1/feeds/FEED/ID?k=10 gives a list; /openapi.json describes everything, /metrics is \
            for Prometheus. With LARDER_TOKEN set, requests must send it as a bearer token. SIGTERM \
            answers what was asked and ends.
            """
    )

    @Option(help: "The address to listen on; 0.0.0.0 for all.") var host = "127.0.0.1"
    @Option(help: "The port; 0 for any that is free.") var port = 8080
    @Option(help: "How log lines look: text or json.") var logFormat: WorkerOptions.LogFormat =
        .text
    @OptionGroup var stores: StoreOptions

    func validate() throws {
        if !(0...65_535).contains(port) {
            throw ValidationError("--port is \(port), but must be from 0 to 65535")
        }
    }

    func run() async throws {
        let token = ProcessInfo.processInfo.environment["LARDER_TOKEN"].flatMap {
            $0.isEmpty ? nil : $0
        }
        if token == nil, !["127.0.0.1", "::1", "localhost"].contains(host) {
            note(
                "note: everybody who reaches \(host) may ask; set LARDER_TOKEN to let in only some"
            )
        }
        // Lookups are answered from Redis alone, whatever state Postgres is in.
        try await stores.withServices(schema: .unasked) { services, _ in
            let logger = logFormat.logger(.warning)
            let server = LarderServer(
                services: services,
                host: host,
                port: port,
                token: token,
                logger: logger
            )
            let service = server.service { port in
                note("serving on http://\(host.contains(":") ? "[\(host)]" : host):\(port)")
            }
            do {
                try await ServiceGroup(draining: [service], logger: logger).run()
            } catch {
                throw SettingsError("cannot serve on \(host):\(port): \(error)")
            }
        }
    }
}
