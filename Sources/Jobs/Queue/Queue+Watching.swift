// SPDX-License-Identifier: Apache-2.0
private import Postgres

extension Queue {
    /// Jobs of a kind that ended alike within the last hour.
    package struct Work: Sendable {
        package let queue: String
        package let kind: String
        /// `succeeded`, `failed` or `cancelled`.
        package let state: String
        package let count: Int
        /// From start to end, together.
        package let seconds: Double
    }

    package func lastHour() async throws(JobsError) -> [Work] {
        try await during("count the jobs of the last hour") { () throws(PostgresError) in
            try await client.query(
                """
                SELECT q.name AS queue, a.kind, a.state, count(*) AS count,
                       coalesce(sum(extract(epoch FROM a.finished_at - a.started_at)), 0)
                           ::double precision AS seconds
                FROM larder.archive a JOIN larder.queues q ON q.id = a.queue_id
                WHERE a.finished_at > now() - interval '1 hour'
                GROUP BY 1, 2, 3 ORDER BY 1, 2, 3
                """
            ) { row throws(PostgresError) in
                Work(
                    queue: try row.decode("queue"),
                    kind: try row.decode("kind"),
                    state: try row.decode("state"),
                    count: try row.decode("count"),
                    seconds: try row.decode("seconds")
                )
            }
        }
    }
}

extension Queue {
    /// A worker process whose heartbeat is fresh.
    package struct Worker: Sendable {
        package let host: String
        package let pid: Int
        package let slots: Int
        package let running: Int
        package let isDraining: Bool
        package let startedAt: String
    }

    /// The oldest first.
    package func workers() async throws(JobsError) -> [Worker] {
        try await during("list workers") { () throws(PostgresError) in
            try await client.query(
                """
                SELECT s.host, s.pid, s.slots, s.draining,
                       to_char(s.started_at, 'YYYY-MM-DD HH24:MI:SS TZ') AS started_at,
                       (SELECT count(*) FROM larder.jobs j
                        WHERE j.session_id = s.id AND j.state = 'running') AS running
                FROM larder.sessions s WHERE s.expires_at > clock_timestamp() ORDER BY s.started_at
                """
            ) { row throws(PostgresError) in
                Worker(
                    host: try row.decode("host"),
                    pid: try row.decode("pid"),
                    slots: try row.decode("slots"),
                    running: try row.decode("running"),
                    isDraining: try row.decode("draining"),
                    startedAt: try row.decode("started_at")
                )
            }
        }
    }

    /// Whether somebody takes jobs.
    package func hasWorkers() async throws(JobsError) -> Bool {
        try await workers().contains { !$0.isDraining }
    }
}
