// SPDX-License-Identifier: Apache-2.0
import ArgumentParser
import Jobs

struct RunsCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "runs",
        abstract: "List runs, show one, or cancel one.",
        subcommands: [List.self, Show.self, Cancel.self],
        defaultSubcommand: List.self
    )

    struct List: AsyncParsableCommand {
        static let configuration = CommandConfiguration(abstract: "List the latest runs.")
        @Option(help: "How many.") var limit = 20
        @OptionGroup var stores: StoreOptions

        func run() async throws {
            try await stores.withServices { services, _ in
                let runs = try await services.runs.list(limit: limit)
                if stores.json { return try Output.json(runs) }
                Output.table(
                    ["run", "feed", "state", "started", "took", "jobs"],
                    runs.map {
                        [
                            String($0.id), $0.feed, $0.state, $0.createdAt,
                            Output.seconds($0.seconds), "\($0.ended)/\($0.jobs)",
                        ]
                    }
                )
            }
        }
    }

    struct Show: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Show a run: its jobs, its model's quality, its release."
        )
        @Argument(help: "The run's number.") var run: Int
        @OptionGroup var stores: StoreOptions

        func run() async throws {
            try await stores.withServices { services, _ in
                let found = try await services.runs.run(run)
                let jobs = try await services.runs.jobs(run: run, limit: 100_000)
                let summary = RunSummary(
                    run: found,
                    jobs: jobs,
                    results: RunResults(try await services.runs.results(of: run))
                )
                if stores.json { return try Output.json(summary) }
                JobsCommand.show(jobs)
                summary.show(model: "model")
            }
        }
    }

    struct Cancel: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Cancel a run: waiting jobs now, running ones within a heartbeat."
        )
        @Argument(help: "The run's number.") var run: Int
        @OptionGroup var stores: StoreOptions

        func run() async throws {
            try await stores.withServices { services, _ in
                _ = try await services.runs.run(run)
                let jobs = try await services.runs.cancel(run)
                if stores.json { return try Output.json(["run": run, "jobs": jobs]) }
                print(
                    jobs == 0
                        ? "run \(run) had ended already"
                        : "\(jobs) jobs of run \(run) are cancelled"
                )
            }
        }
    }
}
