// SPDX-License-Identifier: Apache-2.0
private import Postgres

/// What others are told of a run.
extension Runs {
    package struct Announcements: Sendable {
        /// The run has not ended, or its end was not announced yet, and somebody wants to know.
        package let isDue: Bool
        /// The jobs that tell, in the order they were added.
        package let jobs: [JobRow]
    }

    package func announcements(of run: Int) async throws(JobsError) -> Announcements {
        let found = try await during("look for announcements of run \(run)") {
            () throws(PostgresError) in
            try await client.query(
                """
                SELECT announced_at IS NULL AND (pipeline ? 'track' OR pipeline ? 'notify') AS due,
                       array_to_string(announcements, ',') AS jobs
                FROM larder.runs WHERE id = $1::bigint
                """,
                [Parameter(run)]
            ) { row throws(PostgresError) in
                (due: try row.decode("due", Bool.self), jobs: try row.decode("jobs", String.self))
            }
        }
        guard let row = found.first else { throw .notFound("there is no run \(run)") }
        let ids = row.jobs.split(separator: ",").compactMap { Int($0) }
        let rows = ids.isEmpty ? [] : try await jobs(ids: ids, limit: ids.count)
        return Announcements(isDue: row.due, jobs: rows.sorted { $0.id < $1.id })
    }

    /// One point of a curve, and when it was measured.
    package struct TimedPoint: Sendable {
        package let name: String
        package let step: Int
        package let value: Double
        /// Microseconds since 1970.
        package let at: Int
    }

    /// What the jobs of a run have measured since a time (microseconds since 1970), in the order of
    /// time.
    ///
    /// Of a run that goes on, up to ten seconds ago: what is being written now is seen later, and would
    /// be passed over.
    package func points(
        of run: Int,
        since time: Int,
        isOver: Bool
    ) async throws(JobsError) -> [TimedPoint] {
        try await during("read the metrics of run \(run)") { () throws(PostgresError) in
            try await client.query(
                """
                SELECT name, step, value, (extract(epoch FROM at) * 1000000)::bigint AS at
                FROM larder.metrics
                WHERE run_id = $1::bigint
                  AND larder.metrics.at > timestamptz 'epoch' + $2::bigint * interval '1 microsecond'
                  AND ($3::bool OR larder.metrics.at < clock_timestamp() - interval '10 seconds')
                ORDER BY larder.metrics.at
                """,
                [Parameter(run), Parameter(time), Parameter(isOver)]
            ) { row throws(PostgresError) in
                TimedPoint(
                    name: try row.decode("name"),
                    step: try row.decode("step"),
                    value: try row.decode("value"),
                    at: try row.decode("at")
                )
            }
        }
    }
}
