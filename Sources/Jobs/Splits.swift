// SPDX-License-Identifier: Apache-2.0
package import Postgres

/// The ledger of which shares of a feed's ids were sent to which releases.
package struct Splits: Sendable {
    private let client: Client

    package init(_ client: Client) { self.client = client }

    /// What readers are to be told; a higher version is newer.
    package struct Snapshot: Sendable {
        package let version: Int
        /// Nil where all ids read the live release.
        package let split: String?
        package let since: String?
    }

    package struct Entry: Sendable, Encodable {
        package let split: String
        package let since: String
        package let until: String?
    }

    /// Starts a split in place of the one that runs, or with nil ends that one.
    package func set(_ split: String?, feed: String) async throws(JobsError) -> Snapshot {
        let snapshot = try await during("split \"\(feed)\"") { () throws(PostgresError) in
            try await client.transaction { connection throws(PostgresError) -> Snapshot? in
                // Locks the feed: of two changes the later one has the higher version.
                _ = try connection.execute(
                    "UPDATE larder.feeds SET split_version = split_version + 1 WHERE name = $1",
                    [Parameter(feed)]
                )
                _ = try connection.execute(
                    """
                    UPDATE larder.splits SET until = clock_timestamp()
                    WHERE feed = $1 AND until IS NULL
                    """,
                    [Parameter(feed)]
                )
                if let split {
                    _ = try connection.execute(
                        "INSERT INTO larder.splits (feed, split) SELECT name, $2 FROM larder.feeds WHERE name = $1",
                        [Parameter(feed), Parameter(split)]
                    )
                }
                return try Self.snapshot(feed, connection)
            }
        }
        guard let snapshot else { throw .notFound("there is no feed \"\(feed)\"") }
        return snapshot
    }

    /// Gives what there is a version above one that was met elsewhere, unless it has a later one.
    package func raise(feed: String, to version: Int) async throws(JobsError) {
        try await during("split \"\(feed)\"") { () throws(PostgresError) in
            try await client.execute(
                """
                UPDATE larder.feeds SET split_version = $2::bigint + 1
                WHERE name = $1 AND split_version < $2::bigint
                """,
                [Parameter(feed), Parameter(version)]
            )
        }
    }

    /// Nil where there is no such feed.
    package func snapshot(feed: String) async throws(JobsError) -> Snapshot? {
        try await during("read the split of \"\(feed)\"") { () throws(PostgresError) in
            try await client.transaction { connection throws(PostgresError) in
                try Self.snapshot(feed, connection)
            }
        }
    }

    /// Newest first.
    package func list(feed: String) async throws(JobsError) -> [Entry] {
        try await during("list the splits of \"\(feed)\"") { () throws(PostgresError) in
            try await client.query(
                """
                SELECT split, to_char(since, 'YYYY-MM-DD HH24:MI:SS TZ') AS since,
                       to_char(until, 'YYYY-MM-DD HH24:MI:SS TZ') AS until
                FROM larder.splits WHERE feed = $1 ORDER BY id DESC
                """,
                [Parameter(feed)]
            ) { row throws(PostgresError) in
                Entry(
                    split: try row.decode("split"),
                    since: try row.decode("since"),
                    until: try row.decodeIfPresent("until")
                )
            }
        }
    }

    private static func snapshot(
        _ feed: String,
        _ connection: borrowing Connection
    ) throws(PostgresError) -> Snapshot? {
        let rows = try connection.execute(
            """
            SELECT f.split_version, s.split, to_char(s.since, 'YYYY-MM-DD HH24:MI:SS TZ') AS since
            FROM larder.feeds f
            LEFT JOIN larder.splits s ON s.feed = f.name AND s.until IS NULL
            WHERE f.name = $1
            """,
            [Parameter(feed)]
        )
        return try rows.map { row throws(PostgresError) in
            Snapshot(
                version: try row.decode("split_version"),
                split: try row.decodeIfPresent("split"),
                since: try row.decodeIfPresent("since")
            )
        }.first
    }
}
