// SPDX-License-Identifier: Apache-2.0
import Foundation
import Jobs

/// Starts a run of a pipeline file, for those who enqueue from SQL.
struct StartRunStep {
    private let services: Services
    private let job: Job

    init(_ services: Services, _ job: Job) {
        self.services = services
        self.job = job
    }

    private struct Arguments: Decodable {
        let pipeline: String
    }

    func run() async throws -> JobResult {
        guard
            let arguments = try? JSONDecoder().decode(Arguments.self, from: Data(job.args.utf8))
        else {
            throw FatalJobError(
                "the arguments \(job.args) are not those of a run job, like {\"pipeline\": \"FILE\"}"
            )
        }
        let pipeline = try PipelineParser.parse(file: arguments.pipeline)
        let run = try await Graph.start(
            feed: pipeline.feed,
            pipeline: JSON.text(pipeline),
            jobs: RunPlan.jobs(pipeline),
            queue: job.queue,
            startedBy: job.id,
            on: services.client
        )
        return try JobResult(["run": run])
    }
}
