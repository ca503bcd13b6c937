// SPDX-License-Identifier: Apache-2.0
package import Postgres

/// Items that no list of a feed may show, until they are brought back.
package struct HiddenItems: Sendable {
    private let client: Client

    package init(_ client: Client) { self.client = client }

    /// All of a feed's at one moment; a higher version is newer.
    package struct Snapshot: Sendable {
        package let version: Int
        package let items: [Item]
    }

    package struct Item: Sendable, Encodable {
        package let item: String
        package let hiddenAt: String
    }

    /// Those that are hidden already keep their time.
    package func hide(_ items: [String], feed: String) async throws(JobsError) -> Snapshot {
        try await change(
            feed,
            """
            INSERT INTO larder.hidden_items (feed, item)
            SELECT $1, unnest($2::text[]) ON CONFLICT DO NOTHING
            """,
            items
        )
    }

    /// Those that are not hidden stay so.
    package func unhide(_ items: [String], feed: String) async throws(JobsError) -> Snapshot {
        try await change(
            feed,
            "DELETE FROM larder.hidden_items WHERE feed = $1 AND item = ANY ($2::text[])",
            items
        )
    }

    /// The oldest first; nil where there is no such feed.
    package func snapshot(feed: String) async throws(JobsError) -> Snapshot? {
        try await during("list the hidden items of \"\(feed)\"") { () throws(PostgresError) in
            try await client.transaction { connection throws(PostgresError) in
                try Self.snapshot(feed, connection)
            }
        }
    }

    /// Gives what there is a version above one that was met elsewhere, unless it has a later one.
    package func raise(feed: String, to version: Int) async throws(JobsError) {
        try await during("change the hidden items of \"\(feed)\"") { () throws(PostgresError) in
            try await client.execute(
                """
                UPDATE larder.feeds SET hidden_version = $2::bigint + 1
                WHERE name = $1 AND hidden_version < $2::bigint
                """,
                [Parameter(feed), Parameter(version)]
            )
        }
    }

    private func change(
        _ feed: String,
        _ statement: String,
        _ items: [String]
    ) async throws(JobsError) -> Snapshot {
        let snapshot = try await during("change the hidden items of \"\(feed)\"") {
            () throws(PostgresError) in
            try await client.transaction { connection throws(PostgresError) -> Snapshot? in
                // Locks the feed: of two changes the later one has the higher version.
                let feeds = try connection.execute(
                    "UPDATE larder.feeds SET hidden_version = hidden_version + 1 WHERE name = $1",
                    [Parameter(feed)]
                )
                guard feeds.changed > 0 else { return nil }
                _ = try connection.execute(statement, [Parameter(feed), .array(items)])
                return try Self.snapshot(feed, connection)
            }
        }
        guard let snapshot else { throw .notFound("there is no feed \"\(feed)\"") }
        return snapshot
    }

    private static func snapshot(
        _ feed: String,
        _ connection: borrowing Connection
    ) throws(PostgresError) -> Snapshot? {
        // One statement, so that version and items belong together.
        let found = try connection.execute(
            """
            SELECT f.hidden_version, h.item,
                   to_char(h.hidden_at, 'YYYY-MM-DD HH24:MI:SS TZ') AS hidden_at
            FROM larder.feeds f LEFT JOIN larder.hidden_items h ON h.feed = f.name
            WHERE f.name = $1 ORDER BY h.hidden_at, h.item
            """,
            [Parameter(feed)]
        )
        let rows = try found.map { row throws(PostgresError) in
            (
                version: try row.decode("hidden_version", Int.self),
                item: try row.decodeIfPresent("item", String.self),
                at: try row.decodeIfPresent("hidden_at", String.self)
            )
        }
        guard let first = rows.first else { return nil }
        return Snapshot(
            version: first.version,
            items: rows.compactMap { row in
                row.item.map { Item(item: $0, hiddenAt: row.at ?? "") }
            }
        )
    }
}
