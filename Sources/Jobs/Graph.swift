// SPDX-License-Identifier: Apache-2.0
package import Postgres

/// Graphs of jobs: a whole run, or the jobs that one job fans out into.
package enum Graph {
    /// Adds a run of `feed` with all its jobs, all or nothing, and returns its number.
    ///
    /// `pipeline` is the JSON that the run's jobs read their settings from. A feed has one run at
    /// a time: its row is locked, then looked at. `forced`: why gates are not to refuse it. A job that starts a run gives its id as
    /// `startedBy`; its second attempt gets the run of its first.
    package static func start(
        feed: String,
        pipeline: String,
        jobs: [NewJob],
        queue: String = "default",
        startedBy job: Int? = nil,
        forced: String? = nil,
        on client: Client
    ) async throws(JobsError) -> Int {
        let started = try await during("start a run of \"\(feed)\"") { () throws(PostgresError) in
            try await client.transaction { connection throws(PostgresError) in
                _ = try connection.execute(
                    "INSERT INTO larder.feeds (name) VALUES ($1) ON CONFLICT DO NOTHING",
                    [Parameter(feed)]
                )
                _ = try connection.execute(
                    "SELECT FROM larder.feeds WHERE name = $1 FOR UPDATE",
                    [Parameter(feed)]
                )
                if let job {
                    let earlier = try ids(
                        connection.execute(
                            "SELECT id FROM larder.runs WHERE started_by = $1::bigint",
                            [Parameter(job)]
                        )
                    )
                    if let run = earlier.first { return Started.run(run) }
                }
                let live = try ids(
                    connection.execute(
                        """
                        SELECT r.id FROM larder.runs r
                        WHERE r.feed = $1
                          AND EXISTS (SELECT FROM larder.jobs j WHERE j.run_id = r.id)
                        LIMIT 1
                        """,
                        [Parameter(feed)]
                    )
                )
                if let run = live.first { return Started.inProgress(run) }
                let run = try ids(
                    connection.execute(
                        """
                        INSERT INTO larder.runs (feed, pipeline, started_by, forced, queue)
                        VALUES ($1, $2, $3::bigint, $4, $5) RETURNING id
                        """,
                        [
                            Parameter(feed), Parameter(pipeline), Parameter(job),
                            Parameter(forced), Parameter(queue),
                        ]
                    )
                )[0]
                try insert(jobs, run: run, queue: queue, on: connection)
                _ = try connection.execute("SELECT larder.wake($1)", [Parameter(queue)])
                return .run(run)
            }
        }
        switch started {
        case .run(let run): return run
        case .inProgress(let run): throw .runInProgress(feed: feed, run: run)
        }
    }

    private enum Started: Sendable {
        case run(Int)
        case inProgress(Int)
    }

    private static func insert(
        _ jobs: [NewJob],
        run: Int,
        queue: String,
        on connection: borrowing Connection
    ) throws(PostgresError) {
        let ids = try add(jobs, run: run, group: nil, queue: queue, on: connection)
        let byName = Dictionary(zip(jobs.map(\.name), ids)) { first, _ in first }
        precondition(byName.count == jobs.count, "two jobs of a run have one name")
        var parents: [Int] = []
        var children: [Int] = []
        var onFail: [String?] = []
        for (job, id) in zip(jobs, ids) {
            for (names, rule) in [(job.after, "cancel"), (job.afterEndOf, "ignore")] {
                for name in names {
                    guard let parent = byName[name] else {
                        preconditionFailure("\(job.name) waits for \(name), not in the run")
                    }
                    parents.append(parent)
                    children.append(id)
                    onFail.append(rule)
                }
            }
        }
        _ = try connection.execute(
            SQL.insertDependencies,
            [.array(parents), .array(children), .array(onFail)]
        )
    }

    /// Adds a group and its jobs in the transaction of the job that fans out; false when the join is
    /// not there any more.
    static func fanOut(
        _ fanOut: FanOut,
        from run: Int,
        on connection: borrowing Connection
    ) throws(PostgresError) -> Bool {
        let join = try connection.execute(
            """
            SELECT j.id, q.name AS queue FROM larder.jobs j
            JOIN larder.queues q ON q.id = j.queue_id
            WHERE j.run_id = $1::bigint AND j.name = $2 AND j.state = 'waiting'
            """,
            [Parameter(run), Parameter(fanOut.join)]
        ).map { row throws(PostgresError) in
            (id: try row.decode("id", Int.self), queue: try row.decode("queue", String.self))
        }.first
        guard let join else { return false }
        let group = try ids(
            connection.execute(
                """
                INSERT INTO larder.groups (run_id, total, join_job, need, early, deadline_at)
                VALUES ($1::bigint, $2::int, $3::bigint, $4::int, $5::bool,
                        clock_timestamp() + $6::interval)
                RETURNING id
                """,
                [Parameter(run), Parameter(fanOut.jobs.count), Parameter(join.id)]
                    + parameters(fanOut.policy, of: fanOut.jobs.count)
            )
        )[0]
        _ = try add(fanOut.jobs, run: run, group: group, queue: join.queue, on: connection)
        _ = try connection.execute("SELECT larder.wake($1)", [Parameter(join.queue)])
        return true
    }

    /// How many must succeed, whether to go on as soon as they have, and the time allowed.
    private static func parameters(_ policy: JoinPolicy, of total: Int) -> [Parameter] {
        switch policy {
        case .all(let maxFailed): [Parameter(max(0, total - maxFailed)), Parameter(false), nil]
        case .atLeast(let count): [Parameter(min(total, count)), Parameter(true), nil]
        case .firstGood: [1, Parameter(true), nil]
        case .bestOf(let time): [1, Parameter(false), Parameter(time)]
        }
    }

    private static func add(
        _ jobs: [NewJob],
        run: Int,
        group: Int?,
        queue: String,
        on connection: borrowing Connection
    ) throws(PostgresError) -> [Int] {
        try ids(
            connection.execute(
                SQL.insertJobs,
                [
                    Parameter(run), Parameter(group), Parameter(queue),
                    .array(jobs.map(\.name)), .array(jobs.map(\.kind)), .array(jobs.map(\.args)),
                    .array(
                        jobs.map { job in
                            job.after.count + job.afterEndOf.count + (job.joinsGroup ? 1 : 0)
                        }
                    ),
                    .array(jobs.map { $0.joinsGroup ? "t" : "f" }),
                    .array(jobs.map { Parameter($0.timeout).text }),
                    .array(jobs.map { $0.maxAttempts.map { String($0) } }),
                ]
            )
        ).sorted()
    }

    private static func ids(_ rows: consuming Rows) throws(PostgresError) -> [Int] {
        try rows.map { row throws(PostgresError) in try row.decode("id", Int.self) }
    }
}
