// SPDX-License-Identifier: Apache-2.0
package import Postgres

/// Reading runs and jobs back, for people and for the jobs of the same run.
package struct Runs: Sendable {
    let client: Client

    package init(_ client: Client) { self.client = client }

    package struct Run: Sendable, Encodable {
        package let id: Int
        package let feed: String
        package let state: String
        package let createdAt: String
        /// Seconds since 1970.
        package let started: Double
        /// Seconds from creation to the end, or to now; nil where its jobs have been cleaned away.
        package let seconds: Double?
        package let jobs: Int
        package let ended: Int
        /// Why it goes live although a gate refuses it.
        package let forced: String?
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
        /// When the last attempt began, in seconds since 1970.
        package let started: Double?
        /// Seconds spent in the last attempt.
        package let seconds: Double?
        package let fraction: Double?
        package let message: String?
        package let error: String?
        package let priority: Int
        package let args: String
        package let result: String?
        package let dedupKey: String?
        package let quarantined: Bool
        package let cancelling: Bool
        /// Where the next attempt goes on.
        package let checkpoint: String?

        package var hasEnded: Bool { ["succeeded", "failed", "cancelled"].contains(state) }
    }

    /// Newest first.
    package func list(
        feed: String? = nil,
        limit: Int = 20,
        id: Int? = nil
    ) async throws(JobsError) -> [Run] {
        try await during("list runs") { () throws(PostgresError) in
            try await client.query(
                """
                SELECT s.id, s.feed, s.state, to_char(s.created_at, 'YYYY-MM-DD HH24:MI:SS TZ') AS created_at,
                       extract(epoch FROM s.created_at) AS started,
                       extract(epoch FROM CASE s.state WHEN 'running' THEN clock_timestamp()
                                          ELSE s.finished_at END - s.created_at) AS seconds,
                       s.alive + s.ended AS jobs, s.ended, r.forced
                FROM larder.run_states s JOIN larder.runs r ON r.id = s.id
                WHERE ($2::bigint IS NULL OR s.id = $2::bigint)
                  AND ($3::text IS NULL OR s.feed = $3::text)
                ORDER BY s.id DESC LIMIT $1::int
                """,
                [Parameter(limit), Parameter(id), Parameter(feed)]
            ) { row throws(PostgresError) in
                Run(
                    id: try row.decode("id"),
                    feed: try row.decode("feed"),
                    state: try row.decode("state"),
                    createdAt: try row.decode("created_at"),
                    started: try row.decode("started"),
                    seconds: try row.decodeIfPresent("seconds"),
                    jobs: try row.decode("jobs"),
                    ended: try row.decode("ended"),
                    forced: try row.decodeIfPresent("forced")
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
        kind: String? = nil,
        queue: String? = nil,
        ids: [Int]? = nil,
        limit: Int = 50,
        withResults: Bool = true
    ) async throws(JobsError) -> [JobRow] {
        var conditions = ["true"]
        var parameters = [Parameter(limit), Parameter(withResults)]
        func require(_ condition: (String) -> String, _ parameter: Parameter) {
            parameters.append(parameter)
            conditions.append(condition("$\(parameters.count)"))
        }
        if let run { require({ "run_id = \($0)::bigint" }, Parameter(run)) }
        if let state { require({ "state = \($0)::larder.job_state" }, Parameter(state)) }
        if let kind { require({ "kind = \($0)" }, Parameter(kind)) }
        if let queue {
            require(
                { "queue_id = (SELECT id FROM larder.queues WHERE name = \($0))" },
                Parameter(queue)
            )
        }
        if let ids { require({ "id = ANY(\($0)::bigint[])" }, .array(ids)) }
        let chosen = conditions.joined(separator: " AND ")
        let order = run == nil ? "id DESC" : "coalesce(started_at, 'infinity'), id"
        // The view's two halves are joins, which no index orders: the few are chosen from the tables
        // first, so that the newest of millions come from their indexes.
        func few(_ table: String) -> String {
            "(SELECT id, started_at FROM \(table) WHERE \(chosen) ORDER BY \(order) LIMIT $1::int)"
        }
        return try await during("list jobs") { () throws(PostgresError) in
            try await client.query(
                """
                SELECT id, run_id, queue, name, kind, state, attempt, max_attempts, fraction, message,
                       error, priority, args, dedup_key, quarantined, cancelling, checkpoint,
                       CASE WHEN $2::bool THEN result END AS result,
                       extract(epoch FROM coalesce(finished_at, clock_timestamp()) - started_at)
                           AS seconds, extract(epoch FROM started_at) AS started
                FROM larder.all_jobs
                WHERE id = ANY(ARRAY(
                    SELECT id FROM (\(few("larder.jobs")) UNION ALL \(few("larder.archive"))) f
                    ORDER BY \(order) LIMIT $1::int))
                ORDER BY \(order)
                """,
                parameters
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
                    started: try row.decodeIfPresent("started"),
                    seconds: try row.decodeIfPresent("seconds"),
                    fraction: try row.decodeIfPresent("fraction"),
                    message: try row.decodeIfPresent("message"),
                    error: try row.decodeIfPresent("error"),
                    priority: try row.decode("priority"),
                    args: try row.decode("args"),
                    result: try row.decodeIfPresent("result"),
                    dedupKey: try row.decodeIfPresent("dedup_key"),
                    quarantined: try row.decode("quarantined"),
                    cancelling: try row.decode("cancelling"),
                    checkpoint: try row.decodeIfPresent("checkpoint")
                )
            }
        }
    }

    package func job(_ id: Int) async throws(JobsError) -> JobRow {
        guard let job = try await jobs(ids: [id]).first else {
            throw .notFound("there is no job \(id)\nhint: `larder jobs` lists them")
        }
        return job
    }

    package struct Attempt: Sendable, Encodable {
        package let attempt: Int
        /// `retry`, `resource`, `lost`, `failed` or `cancelled`.
        package let outcome: String
        package let startedAt: String?
        package let seconds: Double?
        /// Where it ran, as far as that is still known.
        package let host: String?
        package let error: String?
    }

    /// The attempts of a job that did not succeed, in order.
    package func attempts(of job: Int) async throws(JobsError) -> [Attempt] {
        try await during("list the attempts of job \(job)") { () throws(PostgresError) in
            try await client.query(
                """
                SELECT t.attempt, t.outcome, t.error, s.host,
                       to_char(t.started_at, 'YYYY-MM-DD HH24:MI:SS TZ') AS started_at,
                       extract(epoch FROM t.ended_at - t.started_at) AS seconds
                FROM larder.attempts t LEFT JOIN larder.sessions s ON s.id = t.session_id
                WHERE t.job_id = $1::bigint ORDER BY t.ended_at
                """,
                [Parameter(job)]
            ) { row throws(PostgresError) in
                Attempt(
                    attempt: try row.decode("attempt"),
                    outcome: try row.decode("outcome"),
                    startedAt: try row.decodeIfPresent("started_at"),
                    seconds: try row.decodeIfPresent("seconds"),
                    host: try row.decodeIfPresent("host"),
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

    /// The results of a run's finished jobs, by job name, as JSON; of all, or of those of some names.
    package func results(
        of run: Int,
        named names: [String]? = nil
    ) async throws(JobsError) -> [String: String] {
        let rows = try await during("read the results of run \(run)") { () throws(PostgresError) in
            try await client.query(
                """
                SELECT name, result FROM larder.archive
                WHERE run_id = $1::bigint AND state = 'succeeded' AND result IS NOT NULL
                  AND ($2::text[] IS NULL OR name = ANY($2::text[]))
                UNION ALL
                SELECT k.key, k.value FROM larder.releases l, jsonb_each(l.results) k
                WHERE l.run_id = $1::bigint
                  AND ($2::text[] IS NULL OR k.key = ANY($2::text[]))
                """,
                [Parameter(run), names.map { .array($0) } ?? nil]
            ) { row throws(PostgresError) in
                (try row.decode("name", String.self), try row.decode("result", String.self))
            }
        }
        return Dictionary(rows) { first, _ in first }
    }

    /// One point of a curve that a job of a run wrote.
    package struct Point: Sendable {
        package let step: Int
        package let value: Double

        package init(step: Int, value: Double) {
            self.step = step
            self.value = value
        }
    }

    /// The curves of a run by their names, each in order.
    package func metrics(of run: Int) async throws(JobsError) -> [String: [Point]] {
        let rows = try await during("read the metrics of run \(run)") { () throws(PostgresError) in
            try await client.query(
                """
                SELECT DISTINCT ON (name, step) name, step, value FROM larder.metrics
                WHERE run_id = $1::bigint ORDER BY name, step, at DESC
                """,
                [Parameter(run)]
            ) { row throws(PostgresError) in
                (
                    try row.decode("name", String.self),
                    Point(step: try row.decode("step"), value: try row.decode("value"))
                )
            }
        }
        return Dictionary(grouping: rows, by: \.0).mapValues { $0.map(\.1) }
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

    /// Lets a run go on that a gate refused, for a reason that is kept; returns how many of its jobs
    /// are alive again, nil where no gate has refused it.
    package func force(_ run: Int, because reason: String) async throws(JobsError) -> Int? {
        try await during("force run \(run)") { () throws(PostgresError) in
            // Both or nothing: a reason that stayed would pass gates at a later retry.
            try await client.query(
                """
                WITH refused AS (
                    SELECT FROM larder.archive WHERE run_id = $1::bigint AND state = 'failed'
                        AND kind IN ('gate', 'publish') LIMIT 1
                ), forced AS (
                    UPDATE larder.runs SET forced = $2
                    WHERE id = $1::bigint AND EXISTS (SELECT FROM refused) RETURNING id
                )
                SELECT larder.retry_run(id) AS jobs FROM forced
                """,
                [Parameter(run), Parameter(reason)]
            ) { row throws(PostgresError) in try row.decode("jobs", Int.self) }
        }.first
    }

    /// How many jobs of the run are alive again.
    package func retry(_ run: Int) async throws(JobsError) -> Int {
        try await during("retry run \(run)") { () throws(PostgresError) in
            try await client.query(
                "SELECT larder.retry_run($1::bigint) AS jobs",
                [Parameter(run)]
            ) { row throws(PostgresError) in try row.decode("jobs", Int.self) }
        }[0]
    }
}
