// SPDX-License-Identifier: Apache-2.0
package import Postgres

/// The ledger of releases.
///
/// Redis holds the lists and the pointer; this says what they are.
package struct Releases: Sendable {
    private let client: Client

    package init(_ client: Client) { self.client = client }

    package struct Release: Sendable, Encodable {
        package let feed: String
        package let number: Int
        package let run: Int
        package let state: String
        /// Whose ids of the dataset the lists are found by: `users` or `items`.
        package let listsFor: String
        package let format: String
        package let k: Int
        package let lists: Int?
        package let bytes: Int?
        /// The share of lists that are not those of the release before.
        package let changedLists: Double?
        /// Items of a list that it had not before, on average.
        package let newItems: Double?
        package let dataset: String
        package let model: String
        package let createdAt: String
        package let liveAt: String?
    }

    /// The number of the run's release; the same one when the job is run again.
    ///
    /// `known`: the highest number in Redis.
    package func reserve(
        feed: String,
        run: Int,
        listsFor: String,
        format: String,
        k: Int,
        dataset: String,
        model: String,
        known: Int
    ) async throws(JobsError) -> Int {
        let numbers = try await during("reserve a release of \"\(feed)\"") {
            () throws(PostgresError) in
            try await client.query(
                SQL.reserveRelease,
                [
                    Parameter(feed), Parameter(run), Parameter(listsFor), Parameter(format),
                    Parameter(k), Parameter(dataset), Parameter(model), Parameter(known),
                ]
            ) { row throws(PostgresError) in try row.decode("number", Int.self) }
        }
        guard let number = numbers.first else {
            throw .notFound("there is no feed \"\(feed)\"")
        }
        return number
    }

    /// What a release holds.
    package struct Contents: Sendable {
        package let lists: Int
        package let bytes: Int
        package let changedLists: Double?
        package let newItems: Double?

        package init(lists: Int, bytes: Int, changedLists: Double? = nil, newItems: Double? = nil) {
            (self.lists, self.bytes) = (lists, bytes)
            (self.changedLists, self.newItems) = (changedLists, newItems)
        }
    }

    /// Writes down that Redis' pointer has moved.
    ///
    /// What the release holds stays as it was when nil.
    package func recordLive(
        feed: String,
        number: Int,
        _ contents: Contents? = nil
    ) async throws(JobsError) {
        try await during("record release \(number) of \"\(feed)\"") { () throws(PostgresError) in
            try await client.transaction { connection throws(PostgresError) in
                _ = try connection.execute(
                    SQL.retireLive,
                    [Parameter(feed), Parameter(number)]
                )
                _ = try connection.execute(
                    SQL.recordLive,
                    [
                        Parameter(feed), Parameter(number), Parameter(contents?.lists),
                        Parameter(contents?.bytes), Parameter(contents?.changedLists),
                        Parameter(contents?.newItems),
                    ]
                )
                for statement in [SQL.closeSpan, SQL.openSpan] {
                    _ = try connection.execute(statement, [Parameter(feed), Parameter(number)])
                }
            }
        }
    }

    package func recordCollected(feed: String, number: Int) async throws(JobsError) {
        try await during("record the end of release \(number)") { () throws(PostgresError) in
            try await client.execute(
                """
                UPDATE larder.releases
                SET state = 'collected', collected_at = clock_timestamp()
                WHERE feed = $1 AND number = $2::int AND state <> 'live'
                """,
                [Parameter(feed), Parameter(number)]
            )
        }
    }

    /// A fencing token for whoever moves the pointer without holding a job's lease.
    package func nextToken() async throws(JobsError) -> Int {
        try await during("draw a fencing token") { () throws(PostgresError) in
            try await client.query("SELECT nextval('larder.leases') AS token") {
                row throws(PostgresError) in try row.decode("token", Int.self)
            }
        }[0]
    }

    /// Makes the fencing tokens of leases and movers to come higher than one that Redis has met: where
    /// Postgres was restored from a backup they start below it.
    package func raiseTokens(above token: Int) async throws(JobsError) {
        try await during("raise the fencing token") { () throws(PostgresError) in
            try await client.transaction { connection throws(PostgresError) in
                // One at a time, and far beyond: nothing that is drawn meanwhile is drawn again.
                _ = try connection.execute("SELECT pg_advisory_xact_lock(1818325604, 0)", [])
                _ = try connection.execute(
                    """
                    SELECT setval('larder.leases', $1::bigint + 1000000) FROM larder.leases
                    WHERE last_value < $1::bigint
                    """,
                    [Parameter(token)]
                )
            }
        }
    }

    /// A time that readers were sent to a release.
    package struct Span: Sendable {
        package let number: Int
        package let k: Int
        /// In seconds since 1970.
        package let since: Double
        /// Nil of the one that is live.
        package let until: Double?
    }

    /// Of the releases that are not collected, oldest first.
    package func spans(feed: String) async throws(JobsError) -> [Span] {
        try await during("list when releases were live") { () throws(PostgresError) in
            try await client.query(
                """
                SELECT s.number, r.k, extract(epoch FROM s.since) AS since,
                       extract(epoch FROM s.until) AS until
                FROM larder.live_spans s JOIN larder.releases r USING (feed, number)
                WHERE s.feed = $1 AND r.state <> 'collected' ORDER BY s.since
                """,
                [Parameter(feed)]
            ) { row throws(PostgresError) in
                Span(
                    number: try row.decode("number"),
                    k: try row.decode("k"),
                    since: try row.decode("since"),
                    until: try row.decodeIfPresent("until")
                )
            }
        }
    }

    /// What is live of a feed.
    package struct Live: Sendable {
        package let feed: String
        package let number: Int
        package let run: Int
        /// How long it has been live.
        package let seconds: Double
        package let lists: Int
        /// Items of the feed that are hidden.
        package let hidden: Int
    }

    package func live() async throws(JobsError) -> [Live] {
        try await during("list what is live") { () throws(PostgresError) in
            try await client.query(
                """
                SELECT feed, number, run_id, coalesce(lists, 0) AS lists,
                       extract(epoch FROM clock_timestamp() - live_at)::double precision AS seconds,
                       (SELECT count(*) FROM larder.hidden_items h WHERE h.feed = r.feed) AS hidden
                FROM larder.releases r WHERE state = 'live' ORDER BY feed
                """
            ) { row throws(PostgresError) in
                Live(
                    feed: try row.decode("feed"),
                    number: try row.decode("number"),
                    run: try row.decode("run_id"),
                    seconds: try row.decode("seconds"),
                    lists: try row.decode("lists"),
                    hidden: try row.decode("hidden")
                )
            }
        }
    }

    /// The live release of a feed, or the one with this number; nil where there is none.
    package func find(feed: String, number: Int? = nil) async throws(JobsError) -> Release? {
        try await list(
            feed: feed,
            number: number,
            state: number == nil ? "live" : nil,
            limit: 1
        ).first
    }

    /// Newest first.
    package func list(
        feed: String? = nil,
        number: Int? = nil,
        state: String? = nil,
        limit: Int = 50
    ) async throws(JobsError) -> [Release] {
        try await during("list releases") { () throws(PostgresError) in
            try await client.query(
                """
                SELECT feed, number, run_id, state, lists_for, format, k, lists, bytes,
                       changed_lists, new_items, dataset,
                       model, to_char(created_at, 'YYYY-MM-DD HH24:MI:SS TZ') AS created_at,
                       to_char(live_at, 'YYYY-MM-DD HH24:MI:SS TZ') AS live_at
                FROM larder.releases
                WHERE ($1::text IS NULL OR feed = $1::text)
                  AND ($3::int IS NULL OR number = $3::int)
                  AND ($4::text IS NULL OR state = $4::text)
                ORDER BY feed, number DESC LIMIT $2::int
                """,
                [Parameter(feed), Parameter(limit), Parameter(number), Parameter(state)]
            ) { row throws(PostgresError) in
                Release(
                    feed: try row.decode("feed"),
                    number: try row.decode("number"),
                    run: try row.decode("run_id"),
                    state: try row.decode("state"),
                    listsFor: try row.decode("lists_for"),
                    format: try row.decode("format"),
                    k: try row.decode("k"),
                    lists: try row.decodeIfPresent("lists"),
                    bytes: try row.decodeIfPresent("bytes"),
                    changedLists: try row.decodeIfPresent("changed_lists"),
                    newItems: try row.decodeIfPresent("new_items"),
                    dataset: try row.decode("dataset"),
                    model: try row.decode("model"),
                    createdAt: try row.decode("created_at"),
                    liveAt: try row.decodeIfPresent("live_at")
                )
            }
        }
    }
}
