// SPDX-License-Identifier: Apache-2.0

/// The work itself.
///
/// Runs on a compute slot's own thread, may be killed at any moment and run again, and must then
/// come to the same outcome.
package protocol JobHandler: Sendable {
    /// Throws `FatalJobError` for what no further attempt can cure; any other error is retried.
    func run(_ job: Job, _ context: JobContext) async throws -> JobResult
}
