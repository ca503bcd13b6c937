// SPDX-License-Identifier: Apache-2.0
import ArgumentParser
import Foundation
import Jobs

struct JobsCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "jobs",
        abstract: "List jobs, show one, retry or cancel some.",
        subcommands: [List.self, Show.self, Retry.self, Cancel.self],
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
        @Option(help: "Only of this kind.") var kind: String?
        @Option(help: "Only of this queue.") var queue: String?
        @Option(help: "How many.") var limit = 50
        @Flag(help: "Show them again every second, until stopped.") var follow = false
        @OptionGroup var stores: StoreOptions

        enum State: String, ExpressibleByArgument, CaseIterable {
            case waiting, scheduled, ready, running, succeeded, failed, cancelled
        }

        func run() async throws {
            try await stores.withServices { services, _ in
                try await Output.show(follow: follow) {
                    let jobs = try await services.runs.jobs(
                        run: run,
                        state: state?.rawValue,
                        kind: kind,
                        queue: queue,
                        limit: limit
                    )
                    return stores.json ? try JSON.text(jobs) : JobsCommand.table(jobs)
                }
            }
        }
    }

    struct Show: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Show a job: its arguments, its attempts and their errors, its result."
        )
        @Argument(help: "The job's number.") var id: Int
        @OptionGroup var stores: StoreOptions

        private struct Shown: Encodable {
            let job: Runs.JobRow
            let attempts: [Runs.Attempt]
        }

        func run() async throws {
            try await stores.withServices { services, _ in
                let job = try await services.runs.job(id)
                let attempts = try await services.runs.attempts(of: id)
                if stores.json { return try Output.json(Shown(job: job, attempts: attempts)) }
                print(JobsCommand.table([job]))
                print("\nqueue     \(job.queue), kind \(job.kind), priority \(job.priority)")
                print("args      \(job.args)")
                if let key = job.dedupKey { print("dedup key \(key)") }
                if job.quarantined { print("runs alone: it was lost with its worker twice") }
                if let result = job.result { print("result    \(result)") }
                if let checkpoint = job.checkpoint { print("resumes from \(checkpoint)") }
                guard !attempts.isEmpty else { return }
                print("")
                Output.table(
                    ["attempt", "began", "took", "outcome", "on", "error"],
                    attempts.map {
                        [
                            String($0.attempt), $0.startedAt ?? "", Output.seconds($0.seconds),
                            $0.outcome, $0.host ?? "", $0.error ?? "",
                        ]
                    }
                )
            }
        }
    }

    struct Retry: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Run failed or cancelled jobs again, with what they need and what needs them."
        )
        @Argument(help: "The jobs' numbers.") var ids: [Int]
        @OptionGroup var stores: StoreOptions

        func run() async throws {
            try await stores.withServices { services, _ in
                let again = try await services.queue.retry(ids)
                if stores.json { return try Output.json(["jobs": again]) }
                print(
                    again.isEmpty
                        ? "nothing to retry: only failed and cancelled jobs can be"
                        : "\(again.count) jobs run again: "
                            + again.sorted().map { String($0) }.joined(separator: ", ")
                )
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

    static func table(_ jobs: [Runs.JobRow]) -> String {
        Output.tableText(
            ["job", "run", "name", "state", "attempt", "took", ""],
            jobs.map { job in
                [
                    String(job.id), job.run.map { String($0) } ?? "", job.name,
                    job.cancelling ? "cancelling" : job.state,
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
