// SPDX-License-Identifier: Apache-2.0
private import Postgres

extension Queue {
    /// Writes what jobs reported: progress and checkpoints in place, metrics appended by COPY.
    func record(
        _ reports: [(Job, JobContext.Reports)]
    ) async throws(JobsError) {
        let progress = reports.filter { $0.1.progress != nil || $0.1.checkpoint != nil }
        let metrics = reports.flatMap { job, report in
            report.metrics.map { metric -> [String?] in
                [
                    job.runID.map { String($0) }, String(job.id), metric.name,
                    String(metric.step), String(metric.value),
                ]
            }
        }
        guard !progress.isEmpty || !metrics.isEmpty else { return }
        let bars: [Parameter] = [
            .array(progress.map(\.0.id)), .array(progress.map(\.0.lease)),
            .array(progress.map { $0.1.progress?.fraction }),
            .array(progress.map { $0.1.progress?.message }), .array(progress.map(\.1.checkpoint)),
        ]
        try await during("report progress") { () throws(PostgresError) in
            try await client.withConnection { connection throws(PostgresError) in
                if !progress.isEmpty { _ = try connection.execute(SQL.reportProgress, bars) }
                if !metrics.isEmpty {
                    _ = try connection.copyIn(
                        "COPY larder.metrics (run_id, job_id, name, step, value) FROM STDIN",
                        rows: metrics
                    )
                }
            }
        }
    }
}
