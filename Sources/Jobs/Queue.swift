// SPDX-License-Identifier: Apache-2.0
package import Postgres

/// The queue's operations, one round trip each.
///
/// Holds no state: everything is in Postgres.
package struct Queue: Sendable {
    package let client: Client

    package init(_ client: Client) { self.client = client }

    // MARK: callers

    /// Adds one job and returns its id; with a `dedupKey` that is alive, the live job's id.
    package func enqueue(
        _ kind: String,
        args: String = "{}",
        queue: String = "default",
        priority: Int = 100,
        delay: Duration? = nil,
        maxAttempts: Int = 5,
        timeout: Duration = .seconds(600),
        dedupKey: String? = nil
    ) async throws(JobsError) -> Int {
        try await during("enqueue a \(kind) job") { () throws(PostgresError) in
            try await client.query(
                """
                SELECT larder.enqueue($1, $2::jsonb, $3, $4::int, clock_timestamp() + $5::interval,
                                      $6::int, $7::interval, $8) AS id,
                       pg_notify('\(Queue.readyChannel)', $3)
                """,
                [
                    Parameter(kind), Parameter(args), Parameter(queue), Parameter(priority),
                    delay.map { Parameter($0) } ?? nil, Parameter(maxAttempts),
                    Parameter(timeout), Parameter(dedupKey),
                ]
            ) { row throws(PostgresError) in try row.decode("id", Int.self) }
        }[0]
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

    /// Where workers listen.
    ///
    /// A notification only saves them up to one poll.
    package static let readyChannel = "larder_ready"

    // MARK: workers

    func open(_ session: Session, ttl: Duration) async throws(JobsError) {
        try await during("open a session") { () throws(PostgresError) in
            try await client.execute(
                SQL.openSession,
                [
                    Parameter(session.id), Parameter(session.host), Parameter(session.pid),
                    Parameter(session.slots), Parameter(ttl),
                ]
            )
        }
    }

    func close(_ session: Session) async throws(JobsError) {
        try await during("close the session") { () throws(PostgresError) in
            try await client.execute(SQL.closeSession, [Parameter(session.id)])
        }
    }

    func claim(
        _ count: Int,
        from queue: String,
        for session: Session
    ) async throws(JobsError) -> [Job] {
        try await during("claim jobs from queue \"\(queue)\"") { () throws(PostgresError) in
            try await client.query(
                SQL.claim,
                [Parameter(queue), Parameter(session.id), Parameter(count)]
            ) { row throws(PostgresError) in
                Job(
                    id: try row.decode("id"),
                    queue: try row.decode("queue"),
                    runID: try row.decodeIfPresent("run_id"),
                    lease: try row.decode("lease"),
                    kind: try row.decode("kind"),
                    name: try row.decode("name"),
                    args: try row.decode("args"),
                    attempt: try row.decode("attempt"),
                    maxAttempts: try row.decode("max_attempts")
                )
            }
        }
    }

    enum Verdict: Sendable, Equatable {
        /// The session expired: nothing it holds is its own any more.
        case sessionLost
        /// A claim whose reply never arrived was given back.
        case requeued(job: Int)
        case revoked(lease: Int)
        case cancelled(lease: Int)
    }

    func heartbeat(
        _ session: Session,
        leases: [Int],
        ttl: Duration,
        grace: Duration
    ) async throws(JobsError) -> [Verdict] {
        try await during("send a heartbeat") { () throws(PostgresError) in
            try await client.query(
                SQL.heartbeat,
                [Parameter(session.id), Parameter(ttl), .array(leases), Parameter(grace)]
            ) { row throws(PostgresError) in
                let lease = try row.decode("lease", Int.self)
                switch try row.decode("what", String.self) {
                case "session_lost": return Verdict.sessionLost
                case "requeued": return .requeued(job: lease)
                case "cancelled": return .cancelled(lease: lease)
                default: return .revoked(lease: lease)
                }
            }
        }
    }

    enum Ending: Sendable {
        case succeeded(JobResult)
        case failed(String, retry: Bool)
    }

    /// Hands in a job's outcome.
    ///
    /// Returns what was accepted (`succeeded`, `retry`, `failed`, `cancelled`), or nil when the job
    /// is no longer this worker's to finish.
    func finish(_ job: Job, _ ending: Ending, by session: Session) async throws(JobsError)
        -> String?
    {
        let parameters: [Parameter]
        var fanOut: FanOut?
        switch ending {
        case .succeeded(let result):
            fanOut = result.fanOut
            parameters = [.array(["succeeded"]), .array([String?.none]), .array([result.result])]
        case .failed(let error, let retry):
            parameters = [
                .array([retry ? "retry" : "fatal"]), .array([error]), .array([String?.none]),
            ]
        }
        let children = fanOut
        let finished = try await during("finish job \(job.id)") { () throws(PostgresError) in
            try await client.transaction { connection throws(PostgresError) in
                let rows = try connection.execute(
                    SQL.finish,
                    [Parameter(session.id), .array([job.id]), .array([job.lease])] + parameters
                ).map { row throws(PostgresError) in
                    (
                        outcome: try row.decode("outcome", String.self),
                        group: try row.decodeIfPresent("group_id", Int.self)
                    )
                }
                if let children, let run = job.runID, rows.first?.outcome == "succeeded" {
                    try Graph.fanOut(children, from: run, on: connection)
                }
                return rows.first
            }
        }
        guard let finished else { return nil }
        if let group = finished.group, finished.outcome != "retry" { try await closeGroup(group) }
        if finished.outcome != "succeeded" { try await cascade() }
        return finished.outcome
    }

    /// Gives jobs back with the attempt refunded, and returns how many; one that is to be cancelled
    /// stays with its worker.
    @discardableResult
    func release(_ leases: [Int], by session: Session) async throws(JobsError) -> Int {
        try await during("give jobs back") { () throws(PostgresError) in
            try await client.execute(SQL.release, [Parameter(session.id), .array(leases)])
        }
    }

    /// Says that the session takes no more jobs, so that nobody counts on it.
    func markDraining(_ session: Session) async throws(JobsError) {
        try await during("drain the session") { () throws(PostgresError) in
            try await client.execute(
                "UPDATE larder.sessions SET draining = true WHERE id = $1::uuid",
                [Parameter(session.id)]
            )
        }
    }

    // MARK: maintenance, by any worker

    struct Rescued: Sendable {
        let job: Int
        let spent: Bool
        let reason: String
    }

    func rescue() async throws(JobsError) -> [Rescued] {
        try await during("rescue jobs of dead workers") { () throws(PostgresError) in
            try await client.query(SQL.rescue) { row throws(PostgresError) in
                Rescued(
                    job: try row.decode("id"),
                    spent: try row.decode("spent"),
                    reason: try row.decode("reason")
                )
            }
        }
    }

    func promote() async throws(JobsError) -> Int {
        try await during("promote due jobs") { () throws(PostgresError) in
            try await client.execute(SQL.promote)
        }
    }

    func cascade() async throws(JobsError) {
        while true {
            let ended = try await during("cancel jobs that cannot start") {
                () throws(PostgresError) in
                try await client.query(SQL.cascade) { row throws(PostgresError) in
                    try row.decode("id", Int.self)
                }
            }
            if ended.isEmpty { return }
        }
    }

    func closeGroups() async throws(JobsError) {
        _ = try await during("close groups") { () throws(PostgresError) in
            try await client.query(SQL.closeGroups) { row throws(PostgresError) in
                try row.decode("closed", Bool.self)
            }
        }
    }

    private func closeGroup(_ id: Int) async throws(JobsError) {
        try await during("close group \(id)") { () throws(PostgresError) in
            try await client.execute("SELECT larder.close_group($1::bigint)", [Parameter(id)])
        }
    }

    /// Whether a worker would find nothing to do here, now and within the hour that a retry may wait.
    func isEmpty(_ queue: String) async throws(JobsError) -> Bool {
        try await during("look at queue \"\(queue)\"") { () throws(PostgresError) in
            try await client.query(
                """
                SELECT larder.backlog($1) = 0 AND NOT EXISTS (
                    SELECT FROM larder.jobs j JOIN larder.queues q ON q.id = j.queue_id
                    WHERE q.name = $1 AND j.state = 'scheduled'
                      AND j.run_at < clock_timestamp() + interval '1 hour') AS empty
                """,
                [Parameter(queue)]
            ) { row throws(PostgresError) in try row.decode("empty", Bool.self) }
        } == [true]
    }
}

/// One boot of one worker process.
package struct Session: Sendable {
    /// A UUID, never reused: a restarted host or pod name cannot inherit another's leases.
    package let id: String
    let host: String
    let pid: Int
    let slots: Int
}
