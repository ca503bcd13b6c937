// SPDX-License-Identifier: Apache-2.0
import ArgumentParser
import Jobs

struct RunsCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "runs",
        abstract: "List runs, show or compare them, retry, force or cancel one.",
        subcommands: [
            List.self, Show.self, CompareRunsCommand.self, CardCommand.self, Retry.self, Force.self,
            Cancel.self,
        ],
        defaultSubcommand: List.self
    )

    struct List: AsyncParsableCommand {
        static let configuration = CommandConfiguration(abstract: "List the latest runs.")
        @Option(help: "How many.") var limit = 20
        @Flag(help: "Show them again every second, until stopped.") var follow = false
        @OptionGroup var stores: StoreOptions

        func run() async throws {
            try await stores.withServices { services, _ in
                try await Output.show(follow: follow) {
                    let runs = try await services.runs.list(limit: limit)
                    if stores.json { return try JSON.text(runs) }
                    return Output.tableText(
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
    }

    struct Retry: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Run everything of a run again that did not succeed."
        )
        @Argument(help: "The run's number.") var run: Int
        @OptionGroup var stores: StoreOptions

        func run() async throws {
            try await stores.withServices { services, _ in
                _ = try await services.runs.run(run)
                let jobs = try await services.runs.retry(run)
                if stores.json { return try Output.json(["run": run, "jobs": jobs]) }
                print(
                    jobs == 0
                        ? "nothing of run \(run) has failed or was cancelled"
                        : "\(jobs) jobs of run \(run) run again"
                )
            }
        }
    }

    struct Force: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Let a run go live that a gate refused.",
            discussion: "The reason is kept with the run; what has not succeeded runs again."
        )
        @Argument(help: "The run's number.") var run: Int
        @Option(help: "Why.") var reason: String
        @OptionGroup var stores: StoreOptions

        func validate() throws {
            if reason.isEmpty { throw ValidationError("--reason must say why") }
        }

        func run() async throws {
            try await stores.withServices { services, _ in
                _ = try await services.runs.run(run)
                guard let jobs = try await services.runs.force(run, because: reason) else {
                    throw SettingsError(
                        "no gate has refused run \(run): there is nothing to force"
                    )
                }
                if stores.json { return try Output.json(["run": run, "jobs": jobs]) }
                print("run \(run) is forced: \(jobs) jobs of it run again")
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
                let summary = try await RunSummary(run, services)
                if stores.json { return try Output.json(summary) }
                print(JobsCommand.table(summary.jobs))
                summary.showDetails()
                summary.show()
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
