// SPDX-License-Identifier: Apache-2.0
import ArgumentParser
import Foundation
import Glibc
import Jobs
import ServiceLifecycle

/// A worker whose jobs do what their arguments say: for measuring, and for trying out what happens
/// when workers die.
struct BenchWorkerCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "worker",
        abstract: "Work on jobs of the queue \"bench\" that sleep, compute or crash as told.",
        discussion: """
            Kinds: noop; sleep {"ms": 20}; spin {"ms": 20}, which does not listen to requests to \
            stop; steps {"count": 10, "ms": 100}, which leaves a checkpoint after each; crash.
            """
    )

    @Option(help: "Seconds after which a silent worker's jobs are given to others.")
    var ttl = 45

    @Option(help: "Seconds that running jobs get when the worker is told to stop.")
    var grace = 10

    @OptionGroup var stores: StoreOptions
    @OptionGroup var worker: WorkerOptions

    func run() async throws {
        try await stores.withServices { services, _ in
            var settings = worker.settings
            settings.queue = QueueBench.queueName
            settings.ttl = .seconds(ttl)
            settings.heartbeatInterval = .seconds(ttl) / 3
            settings.drainGrace = .seconds(grace)
            let logger = worker.logger()
            let runner = JobRunner(
                settings,
                database: services.database,
                handler: BenchHandler(),
                logger: logger
            )
            try await ServiceGroup(draining: [WorkerService(runner: runner)], logger: logger).run()
        }
    }
}

private struct BenchHandler: JobHandler {
    private struct Arguments: Decodable {
        var ms: Int?
        var count: Int?
    }

    private struct Place: Codable {
        var step: Int
    }

    func run(_ job: Job, _ context: JobContext) async throws -> JobResult {
        let arguments = try JSONDecoder().decode(Arguments.self, from: Data(job.args.utf8))
        switch job.kind {
        case "noop": return JobResult()
        case "sleep": try sleep(.milliseconds(arguments.ms ?? 0), context)
        case "spin":
            let end = ContinuousClock.now + .milliseconds(arguments.ms ?? 0)
            while ContinuousClock.now < end {}
        case "steps": return try steps(arguments, context)
        // As the kernel does when memory runs out.
        case "crash": kill(getpid(), SIGKILL)
        default: throw FatalJobError("there is no kind \"\(job.kind)\" here")
        }
        return JobResult()
    }

    private func sleep(_ time: Duration, _ context: JobContext) throws {
        let end = ContinuousClock.now + time
        while ContinuousClock.now < end {
            try context.checkStop()
            usleep(min(5000, UInt32(max(0, (end - .now) / .microseconds(1)))))
        }
    }

    private func steps(_ arguments: Arguments, _ context: JobContext) throws -> JobResult {
        let checkpoint = context.job.checkpoint.map { Data($0.utf8) }
        let first = try checkpoint.map { try JSONDecoder().decode(Place.self, from: $0).step } ?? 0
        let count = arguments.count ?? 1
        for step in first..<count {
            try sleep(.milliseconds(arguments.ms ?? 0), context)
            context.progress(Double(step + 1) / Double(count), "step \(step + 1)")
            context.checkpoint(#"{"step": \#(step + 1)}"#)
        }
        return JobResult(#"{"from": \#(first)}"#)
    }
}
