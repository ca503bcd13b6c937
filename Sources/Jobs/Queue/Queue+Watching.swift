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
