// SPDX-License-Identifier: Apache-2.0
import ArgumentParser
import Jobs

struct JobsCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "jobs",
        abstract: "List jobs, or cancel some.",
        subcommands: [List.self, Cancel.self],
        defaultSubcommand: List.self
    )

    struct List: AsyncParsableCommand {
        static let configuration = CommandConfiguration(abstract: "List jobs, newest first.")
        @Option(help: "Only of this run.") var run: Int?
        @Option(
            help:
                "Only in this state: waiting, scheduled, ready, running, succeeded, failed, cancelled."
        )
        var state: State?
        @Option(help: "How many.") var limit = 50
        @OptionGroup var stores: StoreOptions

        enum State: String, ExpressibleByArgument, CaseIterable {
            case waiting, scheduled, ready, running, succeeded, failed, cancelled
        }

        func run() async throws {
            try await stores.withServices { services, _ in
                let jobs = try await services.runs.jobs(
                    run: run,
                    state: state?.rawValue,
                    limit: limit
                )
                if stores.json { return try Output.json(jobs) }
                JobsCommand.show(jobs)
            }
        }
    }

    struct Cancel: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Cancel jobs: waiting ones now, running ones within a heartbeat."
        )
        @Argument(help: "The jobs' numbers.") var ids: [Int]
        @OptionGroup var stores: StoreOptions

        func run() async throws {
            try await stores.withServices { services, _ in
                let outcomes = Dictionary(
                    uniqueKeysWithValues: try await services.queue.cancel(ids).map {
                        (String($0.id), $0.outcome)
                    }
                )
                if stores.json { return try Output.json(outcomes) }
                for id in ids { print("job \(id): \(outcomes[String(id)] ?? "not alive")") }
            }
        }
    }

    static func show(_ jobs: [Runs.JobRow]) {
        Output.table(
            ["job", "run", "name", "state", "attempt", "took", ""],
            jobs.map { job in
                [
                    String(job.id), job.run.map { String($0) } ?? "", job.name, job.state,
                    "\(job.attempt)/\(job.maxAttempts)", Output.seconds(job.seconds),
                    note(on: job),
                ]
            }
        )
    }

    private static func note(on job: Runs.JobRow) -> String {
        if let fraction = job.fraction { return "\(Int(fraction * 100)) % \(job.message ?? "")" }
        guard job.state != "succeeded" else { return "" }
        return String(job.error?.prefix { $0 != "\n" } ?? "")
    }
}
