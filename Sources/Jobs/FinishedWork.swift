// SPDX-License-Identifier: Apache-2.0
package import Postgres

/// Results by a hash of everything that decides them, over all runs.
package struct FinishedWork: Sendable {
    private let client: Client

    package init(_ client: Client) { self.client = client }

    package struct Entry: Sendable, Equatable {
        /// A JSON object.
        package let result: String
        /// The run whose work it was.
        package let run: Int

        package init(result: String, run: Int) {
            self.result = result
            self.run = run
        }
    }

    package func find(_ key: String) async throws(JobsError) -> Entry? {
        try await during("look for finished work") { () throws(PostgresError) in
            try await client.query(
                "SELECT result, run_id FROM larder.finished_work WHERE key = $1",
                [Parameter(key)]
            ) { row throws(PostgresError) in
                Entry(result: try row.decode("result"), run: try row.decode("run_id"))
            }
        }.first
    }

    /// The newest stays: what an earlier one made may be gone.
    package func record(_ key: String, _ entry: Entry) async throws(JobsError) {
        try await during("write down finished work") { () throws(PostgresError) in
            try await client.execute(
                """
                INSERT INTO larder.finished_work (key, result, run_id) VALUES ($1, $2, $3::bigint)
                ON CONFLICT (key) DO UPDATE SET
                    result = excluded.result, run_id = excluded.run_id,
                    created_at = clock_timestamp()
                """,
                [Parameter(key), Parameter(entry.result), Parameter(entry.run)]
            )
        }
    }
}
