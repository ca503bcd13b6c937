// SPDX-License-Identifier: Apache-2.0
import ArgumentParser
import CacheWriter
import Foundation
import Glibc
import Jobs
import Postgres
import Predictor
import Tables

/// The root of all commands.
struct Larder: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "larder",
        abstract: "Cooks recommendations in advance and keeps them ready, one GET away in Redis.",
        discussion: """
            Point it at your events:   larder run pipeline.yaml --follow
            See what a service gets:   larder lookup FEED ID
            Keep it running:           larder up

            Everything it needs is Postgres and Redis. Without URLs for them (see the options of \
            each command) it starts private ones under ./.larder.
            """,
        version: "0.1.0",
        subcommands: [
            UpCommand.self, PlanCommand.self, RunCommand.self, ImportCommand.self,
            LookupCommand.self,
            PredictCommand.self, WhyCommand.self, ReproduceCommand.self, RunsCommand.self,
            JobsCommand.self, QueuesCommand.self, SchedulesCommand.self, ReleasesCommand.self,
            RollbackCommand.self, SplitCommand.self, HideCommand.self, UnhideCommand.self,
            DataCommand.self, ExportCommand.self,
            EnqueueCommand.self, WorkerCommand.self, ServeCommand.self, MigrateCommand.self,
            BenchCommand.self,
        ]
    )
}

@main
enum Main {
    static func main() async {
        // A broken pipe is an error of the write, not a reason to die.
        signal(SIGPIPE, SIG_IGN)
        do {
            var command = try Larder.parseAsRoot()
            if var command = command as? any AsyncParsableCommand {
                try await command.run()
            } else {
                try command.run()
            }
        } catch let error as ExitCode {
            exit(error.rawValue)
        } catch let error where error is CleanExit || error is ValidationError || isParsing(error) {
            Larder.exit(withError: error)
        } catch {
            note("error: \(error)")
            exit(ExitStatus(error).rawValue)
        }
    }

    /// ArgumentParser's own errors, whose type is not public.
    private static func isParsing(_ error: any Error) -> Bool {
        String(reflecting: type(of: error)).hasPrefix("ArgumentParser.")
    }
}

/// Exit codes as in sysexits.h; docs/operations.md lists them.
enum ExitStatus: Int32 {
    case failed = 1
    case badInput = 64
    case unavailable = 69
    case tryAgain = 75

    init(_ error: any Error) {
        switch error {
        case let error as PostgresError: self = error.endsConnection ? .unavailable : .failed
        case JobsError.postgres(let error, _): self = error.endsConnection ? .unavailable : .failed
        case JobsError.runInProgress: self = .tryAgain
        case JobsError.notFound, JobsError.malformed, is PipelineError, is PredictorError,
            is TableError,
            is SettingsError:
            self = .badInput
        case CacheError.unreachable: self = .unavailable
        case CacheError.fenced: self = .badInput
        default: self = .failed
        }
    }
}
