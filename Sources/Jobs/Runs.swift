// SPDX-License-Identifier: Apache-2.0
package import Postgres

/// Reading runs and jobs back, for people and for the jobs of the same run.
package struct Runs: Sendable {
    private let client: Client

    package init(_ client: Client) { self.client = client }

    package struct Run: Sendable, Encodable {
        package let id: Int
        package let feed: String
        package let state: String
        package let createdAt: String
        /// Seconds from creation to the end, or to now.
        package let seconds: Double
        package let jobs: Int
        package let ended: Int
    }

    package struct JobRow: Sendable, Encodable {
        package let id: Int
        package let run: Int?
        package let queue: String
        package let name: String
        package let kind: String
        package let state: String
        package let attempt: Int
        package let maxAttempts: Int
        /// Seconds spent in the last attempt.
        package let seconds: Double?
        package let fraction: Double?
        package let message: String?
        package let error: String?
    }

    package func list(limit: Int = 20, id: Int? = nil) async throws(JobsError) -> [Run] {
        try await during("list runs") { () throws(PostgresError) in
            try await client.query(
                """
                SELECT s.id, s.feed, s.state, to_char(s.created_at, 'YYYY-MM-DD HH24:MI:SS TZ') AS created_at,
                       extract(epoch FROM coalesce(s.finished_at, clock_timestamp()) - s.created_at)
                           AS seconds,
                       j.jobs, j.ended
                FROM larder.run_states s
                CROSS JOIN LATERAL (
                    SELECT count(*) AS jobs, count(*) FILTER (WHERE a.finished_at IS NOT NULL) AS ended
                    FROM larder.all_jobs a WHERE a.run_id = s.id) j
                WHERE $2::bigint IS NULL OR s.id = $2::bigint
                ORDER BY s.id DESC LIMIT $1::int
                """,
                [Parameter(limit), Parameter(id)]
            ) { row throws(PostgresError) in
                Run(
                    id: try row.decode("id"),
                    feed: try row.decode("feed"),
                    state: try row.decode("state"),
                    createdAt: try row.decode("created_at"),
                    seconds: try row.decode("seconds"),
                    jobs: try row.decode("jobs"),
                    ended: try row.decode("ended")
                )
            }
        }
    }

    package func run(_ id: Int) async throws(JobsError) -> Run {
        guard let run = try await list(limit: 1, id: id).first else {
            throw .notFound("there is no run \(id)\nhint: `larder runs` lists them")
        }
        return run
    }

    /// Jobs, newest first; of one run, in the order they started.
    package func jobs(
        run: Int? = nil,
        state: String? = nil,
        id: Int? = nil,
        limit: Int = 50
    ) async throws(JobsError) -> [JobRow] {
        try await during("list jobs") { () throws(PostgresError) in
            try await client.query(
                """
                SELECT id, run_id, queue, name, kind, state, attempt, max_attempts, fraction,
                       message, error,
                       extract(epoch FROM coalesce(finished_at, clock_timestamp()) - started_at)
                           AS seconds
                FROM larder.all_jobs
                WHERE ($1::bigint IS NULL OR run_id = $1::bigint)
                  AND ($2::text IS NULL OR state::text = $2::text)
                  AND ($3::bigint IS NULL OR id = $3::bigint)
                ORDER BY CASE WHEN $1::bigint IS NOT NULL THEN coalesce(started_at, 'infinity') END,
                         CASE WHEN $1::bigint IS NULL THEN -id ELSE id END
                LIMIT $4::int
                """,
                [Parameter(run), Parameter(state), Parameter(id), Parameter(limit)]
            ) { row throws(PostgresError) in
                JobRow(
                    id: try row.decode("id"),
                    run: try row.decodeIfPresent("run_id"),
                    queue: try row.decode("queue"),
                    name: try row.decode("name"),
                    kind: try row.decode("kind"),
                    state: try row.decode("state"),
                    attempt: try row.decode("attempt"),
                    maxAttempts: try row.decode("max_attempts"),
                    seconds: try row.decodeIfPresent("seconds"),
                    fraction: try row.decodeIfPresent("fraction"),
                    message: try row.decodeIfPresent("message"),
                    error: try row.decodeIfPresent("error")
                )
            }
        }
    }

    /// The pipeline that a run was started with, as JSON.
    package func pipeline(of run: Int) async throws(JobsError) -> String {
        let found = try await during("read the pipeline of run \(run)") {
            () throws(PostgresError) in
            try await client.query(
                "SELECT pipeline FROM larder.runs WHERE id = $1::bigint",
                [Parameter(run)]
            ) { row throws(PostgresError) in try row.decode("pipeline", String.self) }
        }
        guard let pipeline = found.first else { throw .notFound("there is no run \(run)") }
        return pipeline
    }

    /// The results of a run's finished jobs, by job name, as JSON.
    package func results(of run: Int) async throws(JobsError) -> [String: String] {
        let rows = try await during("read the results of run \(run)") { () throws(PostgresError) in
            try await client.query(
                """
                SELECT name, result FROM larder.archive
                WHERE run_id = $1::bigint AND state = 'succeeded' AND result IS NOT NULL
                """,
                [Parameter(run)]
            ) { row throws(PostgresError) in
                (try row.decode("name", String.self), try row.decode("result", String.self))
            }
        }
        return Dictionary(rows) { first, _ in first }
    }

    /// How many jobs of the run ended now, waiting for them to begin with.
    package func cancel(_ run: Int) async throws(JobsError) -> Int {
        try await during("cancel run \(run)") { () throws(PostgresError) in
            try await client.query(
                "SELECT larder.cancel_run($1::bigint) AS jobs",
                [Parameter(run)]
            ) { row throws(PostgresError) in try row.decode("jobs", Int.self) }
        }[0]
    }

    /// Worker processes whose heartbeats are fresh.
    package func liveSessions() async throws(JobsError) -> Int {
        try await during("count workers") { () throws(PostgresError) in
            try await client.query(
                """
                SELECT count(*) AS sessions FROM larder.sessions
                WHERE expires_at > clock_timestamp() AND NOT draining
                """
            ) { row throws(PostgresError) in try row.decode("sessions", Int.self) }
        }[0]
    }
}
