// SPDX-License-Identifier: Apache-2.0
import ArgumentParser
import Foundation
import Jobs
import Logging
import ServiceLifecycle
import UnixSignals

/// The job runner as a service: a graceful shutdown drains it.
struct WorkerService: Service {
    let runner: JobRunner

    func run() async throws {
        try await withGracefulShutdownHandler {
            try await runner.run()
        } onGracefulShutdown: {
            // The handler is synchronous; the drain itself is awaited by `runner.run`.
            Task { await runner.drain() }
        }
    }
}

/// Options of the commands that work on jobs.
struct WorkerOptions: ParsableArguments {
    @Option(help: "The queue to take jobs from.")
    var queue = "default"

    @Option(help: "Jobs worked on at the same time. Default: one for each core.")
    var slots: Int?

    @Option(help: "Where lists are made and networks trained: auto, cpu, or a GPU: cuda:0.")
    var device: DeviceOption = .cpu

    @Option(help: "How log lines look: text or json.")
    var logFormat: LogFormat = .text

    enum LogFormat: String, ExpressibleByArgument, CaseIterable {
        case text
        case json

        func logger(_ level: Logger.Level) -> Logger {
            var logger = Logger(label: "larder") { label in
                switch self {
                case .text: StreamLogHandler.standardError(label: label)
                case .json: JSONLogHandler(label: label)
                }
            }
            logger.logLevel = level
            return logger
        }
    }

    func validate() throws {
        if let slots, !(1...1024).contains(slots) {
            throw ValidationError("--slots is \(slots), but must be from 1 to 1024")
        }
    }

    var settings: JobRunner.Settings {
        var settings = JobRunner.Settings()
        settings.queue = queue
        settings.quietKinds = ["track"]
        settings.slots = slots ?? ProcessInfo.processInfo.activeProcessorCount
        return settings
    }

    func logger(_ level: Logger.Level = .info) -> Logger { logFormat.logger(level) }

    func service(
        _ services: Services,
        _ settings: JobRunner.Settings,
        home: String,
        _ logger: Logger
    ) throws -> WorkerService {
        var services = services
        services.gpu = try device.gpu(home: home, logger)
        return WorkerService(
            runner: JobRunner(
                settings,
                database: services.database,
                handler: Steps(services: services),
                logger: logger
            )
        )
    }
}

extension ServiceGroup {
    /// SIGTERM and SIGINT drain, SIGQUIT gives up at once.
    init(
        draining services: [any Service],
        logger: Logger
    ) {
        var configuration = ServiceGroupConfiguration(
            services: services.map {
                .init(
                    service: $0,
                    successTerminationBehavior: .gracefullyShutdownGroup,
                    failureTerminationBehavior: .gracefullyShutdownGroup
                )
            },
            gracefulShutdownSignals: [.sigterm, .sigint],
            cancellationSignals: [.sigquit],
            logger: logger
        )
        configuration.maximumGracefulShutdownDuration = .seconds(60)
        self.init(configuration: configuration)
    }
}
