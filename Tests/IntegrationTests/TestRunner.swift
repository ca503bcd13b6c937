// SPDX-License-Identifier: Apache-2.0
import Logging
import Postgres

@testable import Jobs

private struct Handler: JobHandler {
    let body: @Sendable (Job, JobContext) async throws -> JobResult
    func run(_ job: Job, _ context: JobContext) async throws -> JobResult {
        try await body(job, context)
    }
}

/// A worker in this process, with a handler of the test's own, that loses no time.
func testRunner(
    _ database: ConnectionSettings,
    slots: Int = 2,
    change: (inout JobRunner.Settings) -> Void = { _ in },
    _ body: @escaping @Sendable (Job, JobContext) async throws -> JobResult
) -> JobRunner {
    var settings = JobRunner.Settings()
    settings.slots = slots
    settings.ttl = .seconds(20)
    settings.heartbeatInterval = .milliseconds(500)
    settings.pollInterval = .milliseconds(100)
    settings.drainGrace = .milliseconds(200)
    change(&settings)
    var logger = Logger(label: "test")
    logger.logLevel = .critical
    return JobRunner(settings, database: database, handler: Handler(body: body), logger: logger)
}
