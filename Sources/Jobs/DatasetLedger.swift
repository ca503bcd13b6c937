// SPDX-License-Identifier: Apache-2.0
package import Postgres

/// Which dataset each feed was made of last.
package struct DatasetLedger: Sendable {
    private let client: Client

    package init(_ client: Client) { self.client = client }

    package struct Entry: Sendable, Equatable {
        package let dataset: String
        /// A hash of the settings and files that it was made of; nil if they are no files.
        package let madeOf: String?
        /// The run that made it.
        package let run: Int

        package init(dataset: String, madeOf: String?, run: Int) {
            self.dataset = dataset
            self.madeOf = madeOf
            self.run = run
        }
    }

    package func latest(feed: String) async throws(JobsError) -> Entry? {
        try await during("find the last dataset of \"\(feed)\"") { () throws(PostgresError) in
            try await client.query(
                "SELECT dataset, made_of, run_id FROM larder.datasets WHERE feed = $1",
                [Parameter(feed)]
            ) { row throws(PostgresError) in
                Entry(
                    dataset: try row.decode("dataset"),
                    madeOf: try row.decode("made_of"),
                    run: try row.decode("run_id")
                )
            }
        }.first
    }

    /// Writes down a dataset that goes on from `previous`.
    ///
    /// Not if another run has been faster: the next dataset goes on from that one, and no index of
    /// a vocabulary ever stands for two ids.
    package func record(
        feed: String,
        _ entry: Entry,
        after previous: String?
    ) async throws(JobsError) {
        try await during("write down the dataset of \"\(feed)\"") { () throws(PostgresError) in
            try await client.execute(
                """
                INSERT INTO larder.datasets AS known (feed, dataset, made_of, run_id)
                VALUES ($1, $2, $3, $4::bigint)
                ON CONFLICT (feed) DO UPDATE SET
                    dataset = excluded.dataset, made_of = excluded.made_of,
                    run_id = excluded.run_id, created_at = clock_timestamp()
                WHERE known.dataset = $5
                """,
                [
                    Parameter(feed), Parameter(entry.dataset), Parameter(entry.madeOf),
                    Parameter(entry.run), Parameter(previous),
                ]
            )
        }
    }
}
