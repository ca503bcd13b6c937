// SPDX-License-Identifier: Apache-2.0
import Foundation
import Postgres
import Predictor
import Subprocess
import SystemPackage
import Tables
import TestSupport
import Testing
import Transfer

/// Tables that other programs hold: a real Postgres, a real DuckDB.
@Suite(.timeLimit(Effort.limit)) struct TableSourceTests {
    private let folder: TemporaryFolder

    init() throws { folder = try TemporaryFolder() }

    private func dataset(
        _ source: TableSource,
        _ database: ConnectionSettings? = nil,
        time: String? = "time",
        progress: @escaping @Sendable (Int?) throws -> Void = { _ in }
    ) throws -> [String] {
        let place = try TemporaryFolder()
        _ = try DatasetBuilder.build(
            DatasetSettings(
                source: source,
                columns: .init(user: "user", item: "item", time: time)
            ),
            into: place.path,
            tables: TableContext(database: database),
            progress: progress
        )
        let dataset = try Dataset(from: place.path)
        return (0..<dataset.users.count).flatMap { user in
            dataset.events(ofUser: user).map { event in
                "\(dataset.users[user]) \(dataset.items[Int(dataset.eventItems[event])]) \(dataset.eventTimes[event])"
            }
        }
    }

    private let expected = ["7 two\tlines\n\"x\" 1599523200", "7 ü 1599568205", "9 ü 1599561005"]

    private func failure(_ body: () throws -> Void) -> String {
        do {
            try body()
            return "none"
        } catch {
            return "\(error)"
        }
    }

    // MARK: Postgres

    @Test func `a Postgres table is read whatever its types are`() async throws {
        try await TestServers.withDatabase { database in
            let client = Client(database)
            try await client.execute(
                "CREATE TABLE shop (\"user\" bigint, item text, time timestamptz)"
            )
            try await client.execute(
                """
                INSERT INTO shop VALUES (7, 'ü', '2020-09-08 12:30:05+00'),
                    (9, 'ü', '2020-09-08 12:30:05+02'), (7, E'two\\tlines\\n"x"', '2020-09-08')
                """
            )
            #expect(try dataset(TableSource(.postgres, "shop"), database) == expected)
            #expect(
                try dataset(
                    TableSource(.postgres, "SELECT * FROM larder.shop -- all of them"),
                    database
                ) == expected
            )
            let epoch = "SELECT \"user\", item, extract(epoch FROM time)::int AS time FROM shop"
            #expect(try dataset(TableSource(.postgres, epoch), database) == expected)
        }
    }

    @Test func `many rows, null and empty values come through COPY`() async throws {
        try await TestServers.withDatabase { database in
            let query = """
                SELECT n % 1000 AS "user", CASE WHEN n % 1000 = 7 THEN NULL ELSE 'i' || n % 77 END AS item,
                    n AS time FROM generate_series(1, 100000) n
                """
            let place = try TemporaryFolder()
            let summary = try DatasetBuilder.build(
                DatasetSettings(
                    source: TableSource(.postgres, query),
                    columns: .init(user: "user", item: "item", time: "time")
                ),
                into: place.path,
                tables: TableContext(database: database)
            )
            #expect(summary.read.rows == 100_000 && summary.read.badRows == 100)
            #expect(summary.users == 999 && summary.items == 77 && summary.events == 99_900)
        }
    }

    @Test func `a query that fails or writes says so and changes nothing`() async throws {
        try await TestServers.withDatabase { database in
            try await Client(database).execute("CREATE TABLE t (\"user\" int, item int, time int)")
            for (query, words) in [
                ("SELECT * FROM absent", "relation \"absent\" does not exist"),
                ("SELECT 1 AS \"user\", 2 AS itme, 3 AS time", "did you mean \"itme\"?"),
                (
                    "SELECT 1/(n - 5) AS \"user\", n AS item, n AS time FROM generate_series(1, 9) n",
                    "division by zero"
                ),
                ("INSERT INTO t VALUES (1, 2, 3) RETURNING *", "syntax error"),
                ("WITH x AS (INSERT INTO t VALUES (1, 2, 3) RETURNING *) SELECT * FROM x", "WITH"),
                ("SELECT 1) AS q; DROP TABLE t; SELECT * FROM (SELECT 1", "multiple commands"),
            ] {
                let error = failure {
                    _ = try dataset(TableSource(.postgres, query), database)
                }
                #expect(error.contains(words), "\(error)")
                #expect(error.hasPrefix("postgres: "))
            }
            let count = try await Client(database).query("SELECT count(*) AS n FROM t") {
                row throws(PostgresError) in try row.decode("n", Int.self)
            }
            #expect(count == [0])
        }
    }

    @Test func `a query that never ends is stopped`() async throws {
        try await TestServers.withDatabase { database in
            struct Stop: Error {}
            let start = ContinuousClock.now
            #expect(throws: Stop.self) {
                _ = try dataset(
                    TableSource(
                        .postgres,
                        "SELECT 1 AS \"user\", 2 AS item, pg_sleep(3600) AS time"
                    ),
                    database
                ) { rows in if rows == nil { throw Stop() } }
            }
            #expect(ContinuousClock.now - start < .seconds(30))
        }
    }

    @Test func `a server of its own is named by an environment variable`() throws {
        let error = failure {
            _ = try dataset(TableSource(.postgres, "t", server: "LARDER_TEST_ABSENT_URL"))
        }
        #expect(error.contains("the environment variable LARDER_TEST_ABSENT_URL is not set"))
    }

    // MARK: DuckDB

    @Test func `Parquet is read through DuckDB, and so is a query over files`() async throws {
        _ = try folder.write(
            "user,item,time\n7,ü,2020-09-08 12:30:05\n9,ü,2020-09-08 10:30:05\n",
            to: "a.csv"
        )
        _ = try folder.write(
            #"{"user":7,"item":"two\tlines\n\"x\"","time":"2020-09-08"}"#,
            to: "b.json"
        )
        let query = """
            SELECT user, item, time FROM 'a.csv' UNION ALL
            SELECT user, item, time::timestamp FROM 'b.json'
            """
        let source = TableSource(.duckdb, query, folder: folder.path)
        #expect(try dataset(source).sorted() == expected.sorted())

        try await duckDB(
            """
            COPY (SELECT i % 3 AS user, 'i' || i AS item, TIMESTAMP '2020-01-01' + INTERVAL (i) MINUTE AS time,
                  'unused' AS other FROM range(50000) t(i)) TO '\(folder.path)/one.parquet';
            COPY (SELECT 5 AS user, 'x' AS item, TIMESTAMP '2020-01-01' AS time)
                TO '\(folder.path)/two.parquet';
            """
        )
        let events = try dataset(TableSource(.parquet, folder.path + "/*.parquet"))
        #expect(events.count == 50_001)
        #expect(Set(events).contains("5 x 1577836800"))
        #expect(Set(events).contains("1 i49999 \(1_577_836_800 + 49_999 * 60)"))
    }

    private func duckDB(_ sql: String) async throws {
        let program = ProcessInfo.processInfo.environment["LARDER_DUCKDB"] ?? "duckdb"
        let result = try await Subprocess.run(
            .path(FilePath(program)),
            arguments: ["-c", sql],
            output: .discarded,
            error: .string(limit: 10_000)
        )
        #expect(result.terminationStatus.isSuccess, "\(result.standardError)")
    }

    @Test func `what DuckDB refuses is said in its words`() async throws {
        try await duckDB(
            "COPY (SELECT 1 AS user, 2 AS itme FROM range(9000)) TO '\(folder.path)/x.parquet'"
        )
        let whole = folder.bytes(of: "x.parquet")
        _ = try folder.write(Array(whole.dropLast(20)), to: "short.parquet")
        let out = folder.path + "/written"
        for (source, words) in [
            (TableSource(.parquet, folder.path + "/short.parquet"), "short.parquet"),
            (TableSource(.parquet, folder.path + "/absent.parquet"), "No files found"),
            (TableSource(.parquet, folder.path + "/x.parquet"), "itme"),
            (TableSource(.duckdb, "SELEC 1"), "syntax error"),
            (TableSource(.duckdb, "COPY (SELECT 1) TO '\(out)'"), "SELECT"),
            (
                TableSource(
                    .duckdb,
                    "SELECT 1 AS user, 2 AS item, 3 AS time; COPY (SELECT 1) TO '\(out)'"
                ),
                "SELECT"
            ),
            (
                TableSource(
                    .duckdb,
                    "SELECT 1 AS user, i AS item, error('half-way') AS time FROM range(9) t(i)"
                ),
                "half-way"
            ),
        ] {
            let error = failure { _ = try dataset(source) }
            #expect(error.contains("DuckDB failed: ") && error.contains(words), "\(error)")
        }
        #expect(!FileManager.default.fileExists(atPath: out))
    }

    @Test func `a DuckDB query that never ends is stopped, and its process gone`() async throws {
        struct Stop: Error {}
        let query = """
            SELECT sum(a.i * b.i % 7) AS user, 1 AS item, 1 AS time
            FROM range(777777) a(i), range(1000000) b(i)
            """
        #expect(throws: Stop.self) {
            _ = try dataset(TableSource(.duckdb, query)) { rows in if rows == nil { throw Stop() } }
        }
        let left = try await Subprocess.run(
            .name("pgrep"),
            arguments: ["-f", "range.777777. a"],
            output: .discarded
        )
        #expect(left.terminationStatus == .exited(1))
    }

    // MARK: over the network

    private static let events =
        "user,item,time\n" + (0..<20_000).map { "u\($0 % 50),i\($0 % 70),\(1000 + $0)\n" }.joined()

    @Test(arguments: ["", "cut=9000", "busy=1"])
    func `a file is read over HTTP as it is from disk, however the line is`(_ query: String) throws
    {
        let environment = ProcessInfo.processInfo.environment
        let base = try #require(environment["TEST_WEB"], "run through Tests/with-servers.sh")
        let place = try #require(environment["TEST_WEB_FOLDER"])
        let name = UUID().uuidString
        let path = try folder.write(Self.events, to: "events.csv")
        let gzip = try Data(contentsOf: URL(filePath: path)).gzipped()
        try gzip.write(to: URL(filePath: "\(place)/\(name)"))
        let there = try dataset(TableSource(.csv, "\(base)/\(name)?\(query)"))
        #expect(there == (try dataset(TableSource(.csv, path))) && there.count == 20_000)
        let wrong = failure {
            _ = try dataset(
                TableSource(.csv, "\(base)/\(name)", sha256: String(repeating: "a", count: 64))
            )
        }
        #expect(wrong.contains("and should have aaaa"))
        // What stands behind the last member is no part of the table, and of the sum all the same.
        try (gzip + Data([0])).write(to: URL(filePath: "\(place)/\(name)-padded"))
        let padded = failure {
            _ = try dataset(
                TableSource(
                    .csv,
                    "\(base)/\(name)-padded",
                    sha256: String(repeating: "a", count: 64)
                )
            )
        }
        #expect(padded.contains("and should have aaaa"))
        #expect(
            failure { _ = try dataset(TableSource(.csv, "\(base)/none")) }.contains(
                "404 (not found)"
            )
        )
    }

    @Test func `objects of a bucket are read in the order of their names`() throws {
        let store = try S3Tests.bucket()
        let lines = Self.events.split(separator: "\n").dropFirst()
        for (number, part) in [lines.prefix(7000), lines.dropFirst(7000)].enumerated() {
            let text = "user,item,time\n" + part.joined(separator: "\n")
            try store.put(Array(text.utf8), "in/day=\(number)/part.csv")
        }
        try store.put(Array("nothing".utf8), "in/day=1/part.txt")
        let path = try folder.write(Self.events, to: "events.csv")
        let url = "s3://\(store.bucket)/in/*/part.csv"
        #expect(try dataset(TableSource(.csv, url)) == dataset(TableSource(.csv, path)))
        let none = failure {
            _ = try dataset(TableSource(.csv, "s3://\(store.bucket)/out/*.csv"))
        }
        #expect(none.contains("no object matches"))
    }
}

extension Data {
    fileprivate func gzipped() throws -> Data {
        let folder = try TemporaryFolder()
        let path = try folder.write(Array(self), to: "data")
        let status = unsafe system("gzip \(path)")
        guard status == 0 else { throw POSIXError(.EIO) }
        return try Data(contentsOf: URL(filePath: path + ".gz"))
    }
}
