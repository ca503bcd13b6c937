// SPDX-License-Identifier: Apache-2.0
package import Postgres

/// Brings the `larder` schema up to date: forward only, all pending files in one transaction,
/// one migrator at a time.
package struct Migrator: Sendable {
    private let client: Client

    package init(_ client: Client) { self.client = client }

    /// In the order of their numbers.
    ///
    /// A file that has been released is never edited.
    private static let migrations: [(number: Int, name: String, sql: [UInt8])] = [
        (1, "create", PackageResources.migration_001_create_sql),
        (2, "harden", PackageResources.migration_002_harden_sql),
        (3, "datasets", PackageResources.migration_003_datasets_sql),
        (4, "gates", PackageResources.migration_004_gates_sql),
        (5, "serving", PackageResources.migration_005_serving_sql),
        (6, "watching", PackageResources.migration_006_watching_sql),
        (7, "retry", PackageResources.migration_007_retry_sql),
    ]

    package static var latest: Int { migrations.last?.number ?? 0 }

    /// Applies what is missing and returns the names of what was applied.
    package func migrate() async throws(JobsError) -> [String] {
        try await migrate(to: Self.latest)
    }

    func migrate(to known: Int) async throws(JobsError) -> [String] {
        let outcome = try await during("migrate the database") { () throws(PostgresError) in
            try await client.transaction { connection throws(PostgresError) in
                // "larder" in ASCII: the second migrator waits here and then finds nothing to do.
                _ = try connection.execute("SELECT pg_advisory_xact_lock(119165352863090)")
                try connection.executeScript(
                    """
                    CREATE SCHEMA IF NOT EXISTS larder;
                    CREATE TABLE IF NOT EXISTS larder.migrations (
                        number int PRIMARY KEY, name text NOT NULL,
                        applied_at timestamptz NOT NULL DEFAULT clock_timestamp());
                    """
                )
                let found = try Self.version(connection)
                guard found <= known else { return (found, [String]()) }
                let pending = Self.migrations.filter { $0.number > found && $0.number <= known }
                for migration in pending {
                    try connection.executeScript(SQL.text(migration.sql))
                    _ = try connection.execute(
                        "INSERT INTO larder.migrations (number, name) VALUES ($1, $2)",
                        [Parameter(migration.number), Parameter(migration.name)]
                    )
                }
                // A change of a function comes with a migration, if only an empty one: its number
                // is how a worker knows that it can work with this database.
                if !pending.isEmpty, known == Self.latest {
                    for function in SQL.functions { try connection.executeScript(function) }
                }
                return (found, pending.map { "\($0.number) \($0.name)" })
            }
        }
        guard outcome.0 <= known else { throw .schemaTooNew(found: outcome.0, known: known) }
        return outcome.1
    }

    /// Throws unless the database has exactly the schema that this binary was built for.
    package func check() async throws(JobsError) {
        let known = Self.latest
        let found = try await during("read the schema's version") { () throws(PostgresError) in
            let exists = try await client.query(
                "SELECT to_regclass('larder.migrations') IS NOT NULL AS exists"
            ) { row throws(PostgresError) in try row.decode("exists", Bool.self) }
            guard exists == [true] else { return 0 }
            return try await client.withConnection { connection throws(PostgresError) in
                try Self.version(connection)
            }
        }
        if found > known { throw .schemaTooNew(found: found, known: known) }
        if found < known { throw .schemaMissing(found: found, known: known) }
    }

    private static func version(_ connection: borrowing Connection) throws(PostgresError) -> Int {
        try connection.execute("SELECT coalesce(max(number), 0) AS version FROM larder.migrations")
            .map { row throws(PostgresError) in try row.decode("version", Int.self) }
            .first ?? 0
    }
}
