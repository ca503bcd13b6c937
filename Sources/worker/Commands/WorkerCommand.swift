// SPDX-License-Identifier: Apache-2.0
import ArgumentParser
import Jobs
import ServiceLifecycle

struct WorkerCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "worker",
        abstract: "Work on jobs until told to stop.",
        discussion: """
            SIGTERM or SIGINT drains: no more jobs are taken, running ones get 10 s to finish and \
            are then given back, without losing an attempt. Add processes to add speed.
            """
    )

    @OptionGroup var stores: StoreOptions
    @OptionGroup var worker: WorkerOptions

    @Flag(help: "Exit when the queue is empty (to scale to zero).")
    var drain = false

    func run() async throws {
        try await stores.withServices { services, _ in
            var settings = worker.settings
            settings.exitsWhenEmpty = drain
            let logger = worker.logger()
            let service = try worker.service(
                services,
                settings,
                home: stores.homeFolder(),
                logger
            )
            try await ServiceGroup(draining: [service], logger: logger).run()
        }
    }
}
