// SPDX-License-Identifier: Apache-2.0
import ArgumentParser
import CacheWriter
import Foundation
import Logging
import Postgres
import ServiceLifecycle
import Subprocess
import Synchronization
import SystemPackage

struct UpCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "up",
        abstract: "Postgres, Redis, schema, a worker and the server in one go, until told to stop.",
        discussion: """
            Starts private servers under ./.larder where no URLs are given, and serves lookups and \
            the dashboard. With a command after -- it serves nothing, but runs that beside the worker \
            with LARDER_DATABASE_URL and LARDER_REDIS_URL set, stops everything when it ends, and \
            exits as it did:

                larder up -- ./my-tests.sh
            """
    )

    @OptionGroup var stores: StoreOptions
    @OptionGroup var worker: WorkerOptions
    @OptionGroup var server: ServerOptions

    @Argument(parsing: .postTerminator, help: "A command to run while everything is up.")
    var command: [String] = []

    func run() async throws {
        let status = try await stores.withServices(schema: .migrated) { services, isPrivate in
            // Postgres has answered the migration; Redis must answer too before anything is promised.
            try await services.redis.command("PING")
            let logger = worker.logger(command.isEmpty ? .info : .warning)
            var members: [any Service] = [
                try worker.service(services, worker.settings, home: stores.homeFolder(), logger)
            ]
            let guest =
                command.isEmpty
                ? nil
                : CommandService(
                    command: command,
                    environment: .inherit.updating([
                        "LARDER_DATABASE_URL": services.database.target,
                        "LARDER_REDIS_URL": services.redisAddress.url,
                    ])
                )
            if let guest {
                members.append(guest)
            } else {
                members.append(server.service(services, mayMove: true, worker.logger(.warning)))
                if isPrivate {
                    note(
                        """
                        up; stop with Ctrl-C. In another terminal: larder run PIPELINE --follow
                        psql "\(services.database.target)"
                        redis-cli -s \(services.redisAddress.socket ?? "")
                        """
                    )
                }
            }
            try await ServiceGroup(draining: members, logger: logger).run()
            return guest?.status.code.withLock { $0 } ?? 0
        }
        if status != 0 { throw ExitCode(status) }
    }
}

/// A child process that the group ends with.
private struct CommandService: Service {
    let command: [String]
    let environment: Environment
    let status = Status()

    final class Status: Sendable {
        let code = Mutex<Int32>(0)
    }

    func run() async throws {
        var options = PlatformOptions()
        options.teardownSequence = [
            .gracefulShutDown(allowedDurationToNextStep: .seconds(10))
        ]
        let child = options
        // SIGTERM to us is SIGTERM to the command, and then the worker drains.
        let result = try await cancelWhenGracefulShutdown {
            try await Subprocess.run(
                command[0].contains("/") ? .path(FilePath(command[0])) : .name(command[0]),
                arguments: Arguments(Array(command.dropFirst())),
                environment: environment,
                platformOptions: child,
                input: .none,
                output: .currentStandardOutput,
                error: .currentStandardError
            )
        }
        switch result.terminationStatus {
        case .exited(let code): status.code.withLock { $0 = code }
        case .signaled(let signal): status.code.withLock { $0 = 128 + signal }
        }
    }
}
