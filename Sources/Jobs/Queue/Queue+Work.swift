// SPDX-License-Identifier: Apache-2.0
private import Postgres

/// What a worker does with jobs.
extension Queue {
    package func open(_ session: Session, ttl: Duration) async throws(JobsError) {
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

    package func close(_ session: Session) async throws(JobsError) {
        try await during("close the session") { () throws(PostgresError) in
            try await client.execute(SQL.closeSession, [Parameter(session.id)])
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

    /// Takes up to `count` ready jobs, by priority and then age.
    ///
    /// Jobs up to `watermark` are passed over: their index entries may be dead ones that an old
    /// transaction keeps from being removed. `alone` takes quarantined jobs instead.
    package func claim(
        _ count: Int,
        from queue: String,
        for session: Session,
        after watermark: QueuePlace = .start,
        alone: Bool = false
    ) async throws(JobsError) -> [Job] {
        let request = ClaimRequest(count: count, queue: queue, watermark: watermark, alone: alone)
        return try await claim(request, for: session)
    }

    /// See `claim(_:from:for:after:alone:)`.
    package struct ClaimRequest: Sendable {
        let count: Int
        let queue: String
        var watermark = QueuePlace.start
        var alone = false

        package init(count: Int, queue: String, watermark: QueuePlace = .start, alone: Bool = false)
        {
            self.count = count
            self.queue = queue
            self.watermark = watermark
            self.alone = alone
        }

        fileprivate func statement(_ session: Session) -> (sql: String, parameters: [Parameter]) {
            (
                "SELECT * FROM larder.claim($1, $2::uuid, $3::int, $4::int, $5::bigint, $6::bool)",
                [
                    Parameter(queue), Parameter(session.id), Parameter(count),
                    Parameter(watermark.priority), Parameter(watermark.id), Parameter(alone),
                ]
            )
        }
    }

    func claim(
        _ request: ClaimRequest,
        for session: Session
    ) async throws(JobsError) -> [Job] {
        let (sql, parameters) = request.statement(session)
        return try await during("claim jobs from queue \"\(request.queue)\"") {
            () throws(PostgresError) in
            try await client.query(sql, parameters) { row throws(PostgresError) in
                try Job(row, queue: request.queue)
            }
        }.sorted { $0.place < $1.place }
    }

    enum Verdict: Sendable, Equatable {
        /// The session expired: nothing it holds is its own any more.
        case sessionLost
        /// What the database's clock said, since 1970.
        case clock(microseconds: Int)
        /// A claim whose reply never arrived was given back.
        case requeued(job: Int)
        case revoked(lease: Int)
        case cancelled(lease: Int)
    }

    /// Renews the session for `ttl`, and tells what has become of the leases it holds.
    ///
    /// Claims of the session that are none of these, and were made before the time `knownBefore`
    /// (microseconds since 1970 on the database's clock), are given back: their replies were lost.
    func heartbeat(
        _ session: Session,
        leases: [Int],
        ttl: Duration,
        knownBefore: Int?
    ) async throws(JobsError) -> [Verdict] {
        try await during("send a heartbeat") { () throws(PostgresError) in
            try await client.query(
                SQL.heartbeat,
                [Parameter(session.id), Parameter(ttl), .array(leases), Parameter(knownBefore)]
            ) { row throws(PostgresError) in
                let lease = try row.decode("lease", Int.self)
                switch try row.decode("what", String.self) {
                case "session_lost": return Verdict.sessionLost
                case "clock": return .clock(microseconds: lease)
                case "requeued": return .requeued(job: lease)
                case "cancelled": return .cancelled(lease: lease)
                default: return .revoked(lease: lease)
                }
            }
        }
    }

    package enum Ending: Sendable {
        case succeeded(JobResult)
        case failed(String, Failure)

        var fanOut: FanOut? {
            if case .succeeded(let result) = self { result.fanOut } else { nil }
        }

        /// It is no ending.
        var goesOn: Bool {
            if case .succeeded(let result) = self { result.again != nil } else { false }
        }
    }

    package enum Failure: String, Sendable {
        /// Tried again until the attempts are spent.
        case retryable = "retry"
        /// Tried again without spending an attempt: something was full or away.
        case resource
        case fatal
    }

    /// Hands in what became of jobs, all in one statement, and returns what was accepted, by job:
    /// `succeeded`, `later`, `retry`, `resource`, `failed`, `cancelled`.
    ///
    /// Throws `isJoinGone` when a fan-out's join was cancelled, and then nothing was handed in.
    /// A job without an entry is not this session's to finish. Groups are closed and hopeless jobs
    /// ended by `settle`, which must come after.
    package func finish(
        _ endings: [(job: Job, ending: Ending)],
        by session: Session
    ) async throws(JobsError) -> [Int: String] {
        let parameters = Self.parameters(endings, session)
        let fanOuts = endings.compactMap { job, ending -> (job: Int, run: Int, FanOut)? in
            guard let fanOut = ending.fanOut, let run = job.runID else { return nil }
            return (job.id, run, fanOut)
        }
        let action =
            endings.count == 1 ? "finish job \(endings[0].job.id)" : "finish \(endings.count) jobs"
        let rows = try await during(action) { () throws(PostgresError) in
            if fanOuts.isEmpty {
                return try await client.query(Self.finishStatement, parameters, Self.accepted)
            }
            return try await client.transaction { connection throws(PostgresError) in
                let rows = try connection.execute(Self.finishStatement, parameters)
                    .map(Self.accepted)
                for (job, run, fanOut) in fanOuts
                where rows.contains(where: { $0 == (job, "succeeded") }) {
                    guard try Graph.fanOut(fanOut, from: run, on: connection) else {
                        throw .joinIsGone(fanOut.join)
                    }
                }
                return rows
            }
        }
        return Dictionary(rows) { first, _ in first }
    }

    /// The same, and takes the next jobs in the same transaction and round trip: one commit and one
    /// wait for the network instead of two.
    package func finish(
        _ endings: [(job: Job, ending: Ending)],
        claiming request: ClaimRequest,
        by session: Session
    ) async throws(JobsError) -> (accepted: [Int: String], claimed: [Job]) {
        precondition(!endings.contains { $0.ending.fanOut != nil }, "a fan-out is more statements")
        let parameters = Self.parameters(endings, session)
        let (rows, jobs) = try await during("finish \(endings.count) jobs and claim others") {
            () throws(PostgresError) in
            try await client.query(
                (Self.finishStatement, parameters),
                Self.accepted,
                then: request.statement(session)
            ) { row throws(PostgresError) in try Job(row, queue: request.queue) }
        }
        return (Dictionary(rows) { first, _ in first }, jobs.sorted { $0.place < $1.place })
    }

    private static let finishStatement = """
        SELECT id, outcome FROM larder.finish($1::uuid, $2::bigint[], $3::bigint[], $4::text[],
                                              $5::text[], $6::text[])
        """

    private static let accepted: @Sendable (borrowing Row) throws(PostgresError) -> (Int, String) =
        { row throws(PostgresError) in (try row.decode("id"), try row.decode("outcome")) }

    private static func parameters(
        _ endings: [(job: Job, ending: Ending)],
        _ session: Session
    ) -> [Parameter] {
        var outcomes: [String?] = []
        var errors: [String?] = []
        var results: [String?] = []
        // By id, the order in which everyone takes rows: no two can wait for each other.
        let endings = endings.sorted { $0.job.id < $1.job.id }
        for (_, ending) in endings {
            switch ending {
            case .succeeded(let result):
                outcomes.append(result.again == nil ? "succeeded" : "later")
                errors.append(nil)
                results.append(
                    result.again.map { #"{"seconds":\#($0 / .seconds(1))}"# } ?? result.result
                )
            case .failed(let error, let failure):
                outcomes.append(failure.rawValue)
                // Postgres' text has no NUL.
                errors.append(error.replacing("\0", with: "␀"))
                results.append(nil)
            }
        }
        return [
            Parameter(session.id), .array(endings.map(\.job.id)), .array(endings.map(\.job.lease)),
            .array(outcomes), .array(errors), .array(results),
        ]
    }

    /// After the commit of a `finish`: closes the groups that these jobs were members of, and ends
    /// jobs that can never start.
    ///
    /// Whatever is missed when a worker dies before it, the sweep does.
    func settle(groups: Set<Int>, hasFailures: Bool) async throws(JobsError) {
        if !groups.isEmpty {
            try await during("close groups") { () throws(PostgresError) in
                try await client.execute(
                    "SELECT larder.close_group(id) FROM unnest($1::bigint[]) AS id",
                    [.array(groups.sorted())]
                )
            }
        }
        if hasFailures || !groups.isEmpty { try await cascade() }
    }

    /// Gives jobs back with the attempt refunded, and returns their ids; one that is to be
    /// cancelled stays with its worker.
    @discardableResult
    func release(_ leases: [Int], by session: Session) async throws(JobsError) -> [Int] {
        try await during("give jobs back") { () throws(PostgresError) in
            try await client.query(
                SQL.release,
                [Parameter(session.id), .array(leases)]
            ) { row throws(PostgresError) in try row.decode("id", Int.self) }
        }
    }

    /// Whether this worker is to stop everything else for a quarantined job.
    func entersQuarantine(_ queue: String, isBusy: Bool) async throws(JobsError) -> Bool {
        try await during("look for quarantined jobs") { () throws(PostgresError) in
            try await client.execute(SQL.enterQuarantine, [Parameter(queue), Parameter(isBusy)])
        } == 1
    }

    func holdQuarantine(_ queue: String) async throws(JobsError) {
        try await during("hold the quarantine") { () throws(PostgresError) in
            try await client.execute(SQL.holdQuarantine, [Parameter(queue)])
        }
    }

    /// Whether a worker would find nothing to do here, now and within the hour that a retry may wait.
    ///
    /// Nor in its own session, where a claim it never heard of may stand; nor a run whose end is still to
    /// be announced. Nobody stays for a receiver that is away, or to look at what others work on.
    func isEmpty(_ queue: String, for session: Session) async throws(JobsError) -> Bool {
        try await during("look at queue \"\(queue)\"") { () throws(PostgresError) in
            try await client.query(
                """
                SELECT larder.backlog($1) = 0 AND NOT EXISTS (
                    SELECT FROM larder.jobs WHERE session_id = $2::uuid AND state = 'running')
                AND NOT EXISTS (
                    SELECT FROM larder.jobs j JOIN larder.queues q ON q.id = j.queue_id
                    WHERE q.name = $1 AND j.state = 'scheduled'
                      AND j.run_at < clock_timestamp() + interval '1 hour'
                      AND NOT (j.kind IN ('track', 'notify') AND (
                          j.last_error IS NOT NULL
                          OR EXISTS (SELECT FROM larder.jobs o
                                     WHERE o.run_id = (j.args->>'run')::bigint))))
                AND NOT EXISTS (
                    SELECT FROM larder.runs r
                    WHERE r.announced_at IS NULL AND (r.pipeline ? 'track' OR r.pipeline ? 'notify')
                      AND r.queue = $1
                      AND NOT EXISTS (SELECT FROM larder.jobs j WHERE j.run_id = r.id)) AS empty
                """,
                [Parameter(queue), Parameter(session.id)]
            ) { row throws(PostgresError) in try row.decode("empty", Bool.self) }
        } == [true]
    }
}

/// One boot of one worker process.
package struct Session: Sendable {
    /// A UUID, never reused: a restarted host or pod name cannot inherit another's leases.
    package let id: String
    package let host: String
    package let pid: Int
    package let slots: Int

    package init(id: String, host: String, pid: Int, slots: Int) {
        self.id = id
        self.host = host
        self.pid = pid
        self.slots = slots
    }
}

extension Job {
    fileprivate init(_ row: borrowing Row, queue: String) throws(PostgresError) {
        id = try row.decode("id")
        self.queue = queue
        runID = try row.decodeIfPresent("run_id")
        groupID = try row.decodeIfPresent("group_id")
        lease = try row.decode("lease")
        priority = try row.decode("priority")
        kind = try row.decode("kind")
        name = try row.decode("name")
        args = try row.decode("args")
        attempt = try row.decode("attempt")
        maxAttempts = try row.decode("max_attempts")
        checkpoint = try row.decodeIfPresent("checkpoint")
        stallAfter = try row.decodeIfPresent("stall_after", Double.self).map { .seconds($0) }
    }
}

extension PostgresError {
    private static let joinIsGoneState = "LD001"

    /// Rolls back a finish whose fan-out has lost its join: were the job to succeed without its
    /// members, nobody could ever make up for them.
    fileprivate static func joinIsGone(_ name: String) -> PostgresError {
        PostgresError(
            .statement,
            sqlState: joinIsGoneState,
            message: "\(name), which was to join what it fans out into, has been cancelled"
        )
    }

    var isJoinGone: Bool { sqlState == Self.joinIsGoneState }
}
