// SPDX-License-Identifier: Apache-2.0
import ArgumentParser
import Foundation
import Jobs
import Logging
import Predictor
import ServiceLifecycle
import Tables

struct RunCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "run",
        abstract: "Enqueue a run of a pipeline file.",
        discussion: """
            The file is checked whole before anything is enqueued. Workers do the work; with \
            --follow and private servers that have no worker, this command works on it itself.
            """
    )

    @Argument(help: "The pipeline file.", completion: .file(extensions: ["yaml", "yml"]))
    var pipeline: String

    @OptionGroup var options: RunOptions

    func run() async throws { try await options.run(PipelineParser.parse(file: pipeline)) }
}

/// Options of the commands that enqueue a run.
struct RunOptions: ParsableArguments {
    @Flag(help: "Watch the run until it ends; exit 1 if it fails.")
    var follow = false

    @Option(help: "Go live although a gate refuses it, for this reason, which is kept.")
    var force: String?

    @OptionGroup var stores: StoreOptions
    @OptionGroup var worker: WorkerOptions

    func validate() throws {
        if force == "" { throw ValidationError("--force must say why") }
    }

    func run(_ parsed: Pipeline) async throws {
        try await stores.withServices { services, isPrivate in
            try checkSources(parsed, isPrivate: isPrivate)
            let run = try await Graph.start(
                feed: parsed.feed,
                pipeline: JSON.text(parsed),
                jobs: RunPlan.jobs(parsed),
                queue: worker.queue,
                forced: force,
                on: services.client
            )
            let hasWorkers = try await services.queue.hasWorkers()
            guard follow else {
                if stores.json { return try Output.json(["run": run]) }
                print("run \(run) of \"\(parsed.feed)\" is enqueued")
                print("watch it with: larder runs show \(run)")
                if !hasWorkers { print("no worker is up; start one with: larder worker") }
                return
            }
            let follower = FollowService(
                run: run,
                services: services,
                json: stores.json,
                view: RunView(feed: parsed.feed, run: run)
            )
            var members: [any Service] = [follower]
            let logger = worker.logger(.error)
            if isPrivate {
                // One more worker does no harm, and another command's may leave any moment.
                members.insert(
                    try worker.service(
                        services,
                        worker.settings,
                        home: stores.homeFolder(),
                        logger
                    ),
                    at: 0
                )
            } else if !hasWorkers {
                note("no worker is up; the run waits for one (larder worker)")
            }
            try await ServiceGroup(draining: members, logger: logger).run()
            let state = try await services.runs.run(run).state
            if state == "running" {
                note(
                    """
                    run \(run) is not finished; \(isPrivate ? "go on with `larder worker --drain`" : "workers go on with it")
                    hint: `larder runs show \(run)` looks at it, `larder runs cancel \(run)` ends it
                    """
                )
                throw ExitCode(130)
            }
            if state != "succeeded" { throw ExitCode(ExitStatus.failed.rawValue) }
        }
    }
}

extension RunOptions {
    /// Workers read the files, maybe on other machines; with private servers it is this one.
    private func checkSources(_ pipeline: Pipeline, isPrivate: Bool) throws {
        let dataset = pipeline.dataset
        let tables = [
            dataset.source, dataset.users?.table, dataset.items?.table, pipeline.check.cases,
        ]
        let files = tables.compactMap(\.self).filter { !$0.isRemote }.compactMap(\.pattern)
        for file in files where !isThere(file) {
            guard !isPrivate else { throw SettingsError("\(file): there is no such file") }
            note("\(file) is not on this machine; the workers must have it")
        }
        if let cases = pipeline.check.cases, files.contains(cases.text), isThere(cases.text) {
            _ = try Cases(cases)
        }
    }
}

private func isThere(_ pattern: String) -> Bool {
    guard let paths = try? Table.paths(matching: pattern) else { return false }
    return paths.allSatisfy { FileManager.default.fileExists(atPath: $0) }
}

/// Watches a run until it ends.
private struct FollowService: Service {
    let run: Int
    let services: Services
    let json: Bool
    let view: RunView

    /// Whether those who want to know of it were told, or could not be; not longer than half a minute.
    private func isTold(_ run: Runs.Run) async throws -> Bool {
        let told = try await services.runs.announcements(of: run.id)
        let since = Date.now.timeIntervalSince1970 - (run.started + (run.seconds ?? 0))
        let isSettled = told.jobs.allSatisfy { job in
            job.error != nil || job.hasEnded
        }
        return !told.isDue && isSettled || since > 30
    }

    func run() async throws {
        try await cancelWhenGracefulShutdown {
            var view = view
            while true {
                let state = try await services.runs.run(run)
                let jobs = try await services.runs.jobs(
                    run: run,
                    limit: 100_000,
                    withResults: false
                )
                if !json { view.show(jobs) }
                if state.state != "running", try await isTold(state) {
                    let summary = try await RunSummary(run, services)
                    if json { try Output.json(summary) } else { summary.show() }
                    return
                }
                do { try await Task.sleep(for: .milliseconds(250)) } catch { return }
            }
        }
    }
}
