// SPDX-License-Identifier: Apache-2.0
private import Postgres

extension Runs {
    /// A run's jobs and what waits for what; the members of a fan-out are one step.
    package struct Graph: Sendable {
        package struct Step: Sendable {
            /// The job's number; of a fan-out, the group's below zero.
            package let id: Int
            /// Of a fan-out, its first member's.
            package let job: Int
            package let name: String
            package let jobs: Int
            package let running: Int
            package let succeeded: Int
            package let failed: Int
            package let cancelled: Int
            /// How much of it is done, from 0 to 1.
            package let fraction: Double

            package init(
                id: Int,
                job: Int,
                name: String,
                jobs: Int = 1,
                running: Int = 0,
                succeeded: Int = 0,
                failed: Int = 0,
                cancelled: Int = 0,
                fraction: Double = 0
            ) {
                (self.id, self.job, self.name, self.jobs) = (id, job, name, jobs)
                (self.running, self.succeeded) = (running, succeeded)
                (self.failed, self.cancelled) = (failed, cancelled)
                self.fraction = fraction
            }
        }

        package struct Edge: Sendable {
            package let from: Int
            package let to: Int

            package init(from: Int, to: Int) { (self.from, self.to) = (from, to) }
        }

        /// In the order in which they began.
        package let steps: [Step]
        package let edges: [Edge]

        package init(steps: [Step], edges: [Edge]) {
            (self.steps, self.edges) = (steps, edges)
        }
    }

    package func graph(of run: Int) async throws(JobsError) -> Graph {
        let (steps, edges) = try await during("read the graph of run \(run)") {
            () throws(PostgresError) in
            try await client.query(
                (
                    """
                    SELECT coalesce(-group_id, id) AS step, min(id) AS job,
                           (array_agg(name ORDER BY id))[1] AS name, count(*) AS jobs,
                           count(*) FILTER (WHERE state = 'running') AS running,
                           count(*) FILTER (WHERE state = 'succeeded') AS succeeded,
                           count(*) FILTER (WHERE state = 'failed') AS failed,
                           count(*) FILTER (WHERE state = 'cancelled') AS cancelled,
                           avg(CASE WHEN state = 'succeeded' THEN 1 WHEN state = 'running'
                                    THEN coalesce(fraction, 0) ELSE 0 END)::double precision AS fraction
                    FROM larder.all_jobs WHERE run_id = $1::bigint
                    GROUP BY 1 ORDER BY min(coalesce(started_at, 'infinity')), 2
                    """, [Parameter(run)]
                ),
                { row throws(PostgresError) in
                    Graph.Step(
                        id: try row.decode("step"),
                        job: try row.decode("job"),
                        name: try row.decode("name"),
                        jobs: try row.decode("jobs"),
                        running: try row.decode("running"),
                        succeeded: try row.decode("succeeded"),
                        failed: try row.decode("failed"),
                        cancelled: try row.decode("cancelled"),
                        fraction: try row.decode("fraction")
                    )
                },
                // Who fans out comes before the members, and they before the join.
                then: (
                    """
                    WITH joins AS (
                        SELECT id, join_job FROM larder.groups WHERE run_id = $1::bigint
                    ), parents AS (
                        SELECT d.parent_id AS parent, d.child_id AS child FROM larder.dependencies d
                        WHERE d.child_id IN (
                            SELECT id FROM larder.jobs WHERE run_id = $1::bigint
                            UNION ALL
                            SELECT id FROM larder.archive WHERE run_id = $1::bigint)
                    )
                    SELECT parent, child FROM parents
                    WHERE child NOT IN (SELECT join_job FROM joins)
                    UNION
                    SELECT p.parent, -j.id FROM joins j JOIN parents p ON p.child = j.join_job
                    UNION
                    SELECT -id, join_job FROM joins
                    """, [Parameter(run)]
                ),
                { row throws(PostgresError) in
                    Graph.Edge(from: try row.decode("parent"), to: try row.decode("child"))
                }
            )
        }
        return Graph(steps: steps, edges: edges)
    }
}
