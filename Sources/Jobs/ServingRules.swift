// SPDX-License-Identifier: Apache-2.0
package import Postgres

/// What the readers of a feed follow beside its pointer: items that are hidden, and a split.
package struct ServingRules: Sendable {
    private let client: Client

    package init(_ client: Client) { self.client = client }

    /// A feed's at one moment; a higher version is newer.
    package struct Snapshot: Sendable {
        package let version: Int
        /// The oldest first.
        package let hidden: [HiddenItem]
        /// Nil where all ids read the live release.
        package let split: String?
    }

    /// An item that no list may show until it is brought back.
    package struct HiddenItem: Sendable, Encodable {
        package let item: String
        package let hiddenAt: String
    }

    /// A split, and from when to when it ran.
    package struct Span: Sendable, Encodable {
        package let split: String
        package let since: String
        package let until: String?
    }

    package func snapshot(feed: String) async throws(JobsError) -> Snapshot {
        // One statement, so that everything is of one moment.
        let rows = try await during("read what readers of \"\(feed)\" follow") {
            () throws(PostgresError) in
            try await client.query(
                """
                SELECT f.rules_version, s.split, h.item,
                       to_char(h.hidden_at, 'YYYY-MM-DD HH24:MI:SS TZ') AS hidden_at
                FROM larder.feeds f
                LEFT JOIN larder.splits s ON s.feed = f.name AND s.until IS NULL
                LEFT JOIN larder.hidden_items h ON h.feed = f.name
                WHERE f.name = $1 ORDER BY h.hidden_at, h.item
                """,
                [Parameter(feed)]
            ) { row throws(PostgresError) in
                (
                    version: try row.decode("rules_version", Int.self),
                    split: try row.decodeIfPresent("split", String.self),
                    item: try row.decodeIfPresent("item", String.self),
                    hiddenAt: try row.decodeIfPresent("hidden_at", String.self)
                )
            }
        }
        guard let first = rows.first else { throw .notFound("there is no feed \"\(feed)\"") }
        return Snapshot(
            version: first.version,
            hidden: rows.compactMap { row in
                row.item.map { HiddenItem(item: $0, hiddenAt: row.hiddenAt ?? "") }
            },
            split: first.split
        )
    }

    /// Those that are hidden already keep their time.
    package func hide(_ items: [String], feed: String) async throws(JobsError) {
        try await change(
            feed,
            [
                (
                    """
                    INSERT INTO larder.hidden_items (feed, item)
                    SELECT $1, unnest($2::text[]) ON CONFLICT DO NOTHING
                    """,
                    [.array(items)]
                )
            ]
        )
    }

    /// Those that are not hidden stay so.
    package func unhide(_ items: [String], feed: String) async throws(JobsError) {
        try await change(
            feed,
            [
                (
                    "DELETE FROM larder.hidden_items WHERE feed = $1 AND item = ANY ($2::text[])",
                    [.array(items)]
                )
            ]
        )
    }

    /// Starts a split in place of the one that runs, or with nil ends that one.
    package func split(_ split: String?, feed: String) async throws(JobsError) {
        try await change(
            feed,
            [
                (
                    """
                    UPDATE larder.splits SET until = clock_timestamp()
                    WHERE feed = $1 AND until IS NULL
                    """,
                    []
                ),
                (
                    "INSERT INTO larder.splits (feed, split) SELECT $1, $2::text WHERE $2::text IS NOT NULL",
                    [Parameter(split)]
                ),
            ]
        )
    }

    /// Makes what is here newer than what was met elsewhere, unless it is.
    package func raise(feed: String, above version: Int) async throws(JobsError) {
        try await during("raise the version of what readers of \"\(feed)\" follow") {
            () throws(PostgresError) in
            try await client.execute(
                """
                UPDATE larder.feeds SET rules_version = $2::bigint + 1
                WHERE name = $1 AND rules_version < $2::bigint
                """,
                [Parameter(feed), Parameter(version)]
            )
        }
    }

    /// All that there were, newest first.
    package func splits(feed: String) async throws(JobsError) -> [Span] {
        try await during("list the splits of \"\(feed)\"") { () throws(PostgresError) in
            try await client.query(
                """
                SELECT split, to_char(since, 'YYYY-MM-DD HH24:MI:SS TZ') AS since,
                       to_char(until, 'YYYY-MM-DD HH24:MI:SS TZ') AS until
                FROM larder.splits WHERE feed = $1 ORDER BY id DESC
                """,
                [Parameter(feed)]
            ) { row throws(PostgresError) in
                Span(
                    split: try row.decode("split"),
                    since: try row.decode("since"),
                    until: try row.decodeIfPresent("until")
                )
            }
        }
    }

    /// `statements`: each with what follows the feed, $1.
    private func change(
        _ feed: String,
        _ statements: [(sql: String, parameters: [Parameter])]
    ) async throws(JobsError) {
        let isThere = try await during("change what readers of \"\(feed)\" follow") {
            () throws(PostgresError) in
            try await client.transaction { connection throws(PostgresError) in
                // Locks the feed: of two changes the later one has the higher version.
                let feeds = try connection.execute(
                    """
                    UPDATE larder.feeds SET rules_version = greatest(
                        rules_version + 1,
                        (extract(epoch FROM clock_timestamp()) * 1000000)::bigint)
                    WHERE name = $1
                    """,
                    [Parameter(feed)]
                )
                guard feeds.changed > 0 else { return false }
                for (sql, parameters) in statements {
                    _ = try connection.execute(sql, [Parameter(feed)] + parameters)
                }
                return true
            }
        }
        if !isThere { throw .notFound("there is no feed \"\(feed)\"") }
    }
}
