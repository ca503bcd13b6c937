// SPDX-License-Identifier: Apache-2.0
import Postgres
import TestSupport
import Testing

@Suite(.timeLimit(Effort.limit)) struct PostgresClientTests {
    @Test func `values come back as they were sent`() async throws {
        let client = Client(ConnectionSettings(try TestServers.postgres + " dbname=postgres"))
        let rows = try await client.query(
            "SELECT $1::text AS t, $2::bigint AS n, $3::float8 AS d, $4::bool AS b, $5::text AS z",
            [Parameter("é 'x' 🍲"), Parameter(-7), Parameter(1.5), Parameter(true), nil]
        ) { row throws(PostgresError) in
            (
                try row.decode("t", String.self), try row.decode("n", Int.self),
                try row.decode("d", Double.self), try row.decode("b", Bool.self),
                try row.decodeIfPresent("z", String.self)
            )
        }
        let row = try #require(rows.first)
        #expect(row == ("é 'x' 🍲", -7, 1.5, true, nil))
    }

    @Test func `a refused statement has the state and the connection goes on`() async throws {
        let client = Client(ConnectionSettings(try TestServers.postgres + " dbname=postgres"))
        let error = await #expect(throws: PostgresError.self) {
            try await client.execute("SELECT * FROM no_such_table")
        }
        #expect(error?.sqlState == "42P01")
        #expect(error?.message == "relation \"no_such_table\" does not exist")
        #expect(try await one(client, "SELECT 1 AS n") == 1)
    }

    @Test func `a wrong type or column is told, not guessed`() async throws {
        let client = Client(ConnectionSettings(try TestServers.postgres + " dbname=postgres"))
        for (sql, column) in [
            ("SELECT 'x' AS n", "n"), ("SELECT 1 AS m", "n"), ("SELECT NULL AS n", "n"),
        ] {
            let error = await #expect(throws: PostgresError.self) {
                _ = try await client.query(sql) { row throws(PostgresError) in
                    try row.decode(column, Int.self)
                }
            }
            #expect(error?.kind == .decoding)
        }
    }

    @Test func `COPY in and out carries any text`() async throws {
        try await TestServers.withEmptyDatabase { settings in
            let client = Client(settings)
            try await client.execute("CREATE TABLE t (a text, b text)")
            let rows: [[String?]] = [["x\ty", nil], ["", "back\\slash\n"], ["🍲", "\\N"]]
            let copied = try await client.withConnection { connection throws(PostgresError) in
                try connection.copyIn("COPY t FROM STDIN", rows: rows)
            }
            #expect(copied == 3)
            let back = try await client.withConnection { connection throws(PostgresError) in
                var back: [[String?]] = []
                try connection.copyOut("COPY t TO STDOUT") { back.append($0) }
                return back
            }
            #expect(back == rows)
        }
    }

    @Test func `a refused COPY leaves nothing behind and the connection usable`() async throws {
        try await TestServers.withEmptyDatabase { settings in
            let client = Client(settings)
            try await client.execute("CREATE TABLE t (a int)")
            let error = await #expect(throws: PostgresError.self) {
                try await client.withConnection { connection throws(PostgresError) in
                    _ = try connection.copyIn("COPY t FROM STDIN", rows: [["1"], ["x"]])
                }
            }
            #expect(error?.sqlState == "22P02")
            #expect(try await one(client, "SELECT count(*) AS n FROM t") == 0)
        }
    }

    @Test func `a transaction is all or nothing`() async throws {
        try await TestServers.withEmptyDatabase { settings in
            let client = Client(settings)
            try await client.execute("CREATE TABLE t (a int PRIMARY KEY)")
            await #expect(throws: PostgresError.self) {
                try await client.transaction { connection throws(PostgresError) in
                    _ = try connection.execute("INSERT INTO t VALUES (1)")
                    _ = try connection.execute("INSERT INTO t VALUES (1)")
                }
            }
            #expect(try await one(client, "SELECT count(*) AS n FROM t") == 0)
        }
    }

    @Test func `a statement is stopped by its time limit`() async throws {
        var settings = ConnectionSettings(try TestServers.postgres + " dbname=postgres")
        settings.statementTimeout = .milliseconds(200)
        let client = Client(settings)
        let error = await #expect(throws: PostgresError.self) {
            try await client.execute("SELECT pg_sleep(60)")
        }
        #expect(error?.sqlState == "57014")
    }

    @Test func `a killed connection is an error once, and then there is another`() async throws {
        let settings = ConnectionSettings(try TestServers.postgres + " dbname=postgres")
        let client = Client(settings)
        let victim = try await one(client, "SELECT pg_backend_pid() AS n")
        try await Client(settings).execute(
            "SELECT pg_terminate_backend($1::int)",
            [Parameter(victim)]
        )
        let error = await #expect(throws: PostgresError.self) {
            try await client.execute("SELECT 1")
        }
        #expect(error?.kind == .connection)
        #expect(try await one(client, "SELECT 1 AS n") == 1)
    }

    @Test func `nobody listening is told with the address and without the password`() async throws {
        let client = Client(ConnectionSettings("postgres://me:s3cret@127.0.0.1:1/db"))
        let error = await #expect(throws: PostgresError.self) {
            try await client.execute("SELECT 1")
        }
        #expect(error?.kind == .connection)
        #expect(error?.message.contains("127.0.0.1") == true)
        #expect(error?.description.contains("s3cret") == false)
    }

    @Test func `a notification wakes a listener`() async throws {
        try await TestServers.withEmptyDatabase { settings in
            let listener = Client(settings)
            try await listener.listen("kitchen")
            #expect(try await listener.notifications(within: .milliseconds(10)) == [])
            try await Client(settings).execute("SELECT pg_notify('kitchen', '')")
            #expect(try await listener.notifications(within: .seconds(10)) == ["kitchen"])
        }
    }

    private func one(_ client: Client, _ sql: String) async throws -> Int {
        try await client.query(sql) { row throws(PostgresError) in try row.decode("n", Int.self) }[
            0
        ]
    }
}
