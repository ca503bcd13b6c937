// SPDX-License-Identifier: Apache-2.0
package import Postgres

/// The queue's operations, one round trip each.
///
/// Holds no state: everything is in Postgres.
package struct Queue: Sendable {
    package let client: Client

    package init(_ client: Client) { self.client = client }

    /// Where workers listen for work; a notification only saves them up to one poll.
    static let readyChannel = "larder_ready"
    /// Where workers listen for cancels; a notification only saves them up to one heartbeat.
    static let cancelChannel = "larder_cancel"

    /// Adds one job and returns its id.
    ///
    /// With a `dedupKey` that is alive it returns the live job's id; with an `idempotencyKey` of
    /// the last 24 hours the id that was returned then. What is nil is the kind's, or the
    /// queue's default.
    package func enqueue(
        _ kind: String,
        args: String = "{}",
        queue: String = "default",
        priority: Int = 100,
        delay: Duration? = nil,
        maxAttempts: Int? = nil,
        timeout: Duration? = nil,
        dedupKey: String? = nil,
        idempotencyKey: String? = nil
    ) async throws(JobsError) -> Int {
        try await during("enqueue a \(kind) job") { () throws(PostgresError) in
            try await client.query(
                """
                SELECT larder.enqueue($1, $2::jsonb, $3, $4::int, clock_timestamp() + $5::interval,
                                      $6::int, $7::interval, $8, $9) AS id
                """,
                [
                    Parameter(kind), Parameter(args), Parameter(queue), Parameter(priority),
                    Parameter(delay), Parameter(maxAttempts), Parameter(timeout),
                    Parameter(dedupKey), Parameter(idempotencyKey),
                ]
            ) { row throws(PostgresError) in try row.decode("id", Int.self) }
        }[0]
    }

    /// Adds many jobs, all or none, and returns their ids in order.
    ///
    /// `jobs` is a JSON array of objects with the keys of `larder.enqueue`.
    package func enqueueMany(_ jobs: String) async throws(JobsError) -> [Int] {
        try await during("enqueue jobs") { () throws(PostgresError) in
            try await client.query(
                "SELECT larder.enqueue_many($1::jsonb) AS id",
                [Parameter(jobs)]
            ) { row throws(PostgresError) in try row.decode("id", Int.self) }
        }
    }

    /// Returns what became of each job; an id that is not alive is left out.
    package func cancel(_ ids: [Int]) async throws(JobsError) -> [(id: Int, outcome: String)] {
        try await during("cancel jobs") { () throws(PostgresError) in
            try await client.query(
                "SELECT id, outcome FROM larder.cancel($1::bigint[])",
                [.array(ids)]
            ) { row throws(PostgresError) in
                (id: try row.decode("id", Int.self), outcome: try row.decode("outcome"))
            }
        }
    }

    /// Brings failed and cancelled jobs back, with what has to run with them, and returns all that
    /// are alive again.
    package func retry(_ ids: [Int]) async throws(JobsError) -> [Int] {
        try await during("retry jobs") { () throws(PostgresError) in
            try await client.query(
                "SELECT id FROM larder.retry($1::bigint[])",
                [.array(ids)]
            ) { row throws(PostgresError) in try row.decode("id", Int.self) }
        }
    }

    // MARK: queues

    package struct State: Sendable, Encodable {
        package let queue: String
        package let isPaused: Bool
        package let maxRunning: Int?
        package let ready: Int
        package let running: Int
        package let scheduled: Int
        package let waiting: Int
        package let quarantined: Int
        /// Age of the oldest ready job.
        package let oldestReadySeconds: Double
    }

    package func states() async throws(JobsError) -> [State] {
        try await during("list queues") { () throws(PostgresError) in
            try await client.query("SELECT * FROM larder.queue_states ORDER BY queue") {
                row throws(PostgresError) in
                State(
                    queue: try row.decode("queue"),
                    isPaused: try row.decodeIfPresent("paused_at", String.self) != nil,
                    maxRunning: try row.decodeIfPresent("max_running"),
                    ready: try row.decode("ready"),
                    running: try row.decode("running"),
                    scheduled: try row.decode("scheduled"),
                    waiting: try row.decode("waiting"),
                    quarantined: try row.decode("quarantined"),
                    oldestReadySeconds: try row.decode("oldest_ready_seconds")
                )
            }
        }
    }

    /// Jobs that run go on; no worker takes another.
    package func pause(_ queue: String) async throws(JobsError) {
        try await change(queue, "pause", "paused_at = coalesce(paused_at, clock_timestamp())")
    }

    package func resume(_ queue: String) async throws(JobsError) {
        try await change(queue, "resume", "paused_at = NULL")
    }

    /// How many jobs of the queue may run at a time, over all workers; nil for as many as there
    /// are slots.
    package func limit(_ queue: String, to maxRunning: Int?) async throws(JobsError) {
        try await change(queue, "limit", "max_running = $2::int", [Parameter(maxRunning)])
    }

    private func change(
        _ queue: String,
        _ verb: String,
        _ assignment: String,
        _ parameters: [Parameter] = []
    ) async throws(JobsError) {
        let changed = try await during("\(verb) queue \"\(queue)\"") { () throws(PostgresError) in
            try await client.execute(
                "UPDATE larder.queues SET \(assignment) WHERE name = $1",
                [Parameter(queue)] + parameters
            )
        }
        if changed == 0 {
            throw .notFound("there is no queue \"\(queue)\"\nhint: `larder queues` lists them")
        }
    }
}
