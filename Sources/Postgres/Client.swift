// SPDX-License-Identifier: Apache-2.0
import Executors

/// Owns one connection on a queue of its own, and opens another when it breaks.
///
/// A statement whose connection breaks is never sent twice: nobody knows whether it was
/// committed. The error goes to the caller, and the next call reconnects.
package actor Client {
    private let settings: ConnectionSettings
    private let executor: SerialQueueExecutor
    private var connection: Connection?
    private var failedConnects = 0
    /// Run on every new connection: `LISTEN` belongs to a connection, not to us.
    private var channels: [String] = []

    package init(_ settings: ConnectionSettings) {
        self.settings = settings
        executor = SerialQueueExecutor(label: "larder.postgres")
    }

    package nonisolated var unownedExecutor: UnownedSerialExecutor {
        unsafe executor.asUnownedSerialExecutor()
    }

    /// Runs one statement and decodes its rows; again when the server asks for it.
    package func query<T: Sendable>(
        _ sql: String,
        _ parameters: [Parameter] = [],
        _ decode: @Sendable (borrowing Row) throws(PostgresError) -> T
    ) async throws(PostgresError) -> [T] {
        try await again { () throws(PostgresError) in
            try await withConnection { connection throws(PostgresError) in
                try connection.execute(sql, parameters).map(decode)
            }
        }
    }

    /// Runs two statements in one transaction and one round trip, and decodes their rows.
    package func query<T: Sendable, U: Sendable>(
        _ first: (sql: String, parameters: [Parameter]),
        _ decodeFirst: @Sendable (borrowing Row) throws(PostgresError) -> T,
        then second: (sql: String, parameters: [Parameter]),
        _ decodeSecond: @Sendable (borrowing Row) throws(PostgresError) -> U
    ) async throws(PostgresError) -> ([T], [U]) {
        try await again { () throws(PostgresError) in
            try await withConnection { connection throws(PostgresError) in
                var answers: ([T], [U]) = ([], [])
                try connection.executeTogether([first, second]) {
                    index,
                    rows throws(PostgresError) in
                    if index == 0 {
                        answers.0 = try rows.map(decodeFirst)
                    } else {
                        answers.1 = try rows.map(decodeSecond)
                    }
                }
                return answers
            }
        }
    }

    /// Runs one statement and returns how many rows it changed.
    @discardableResult
    package func execute(
        _ sql: String,
        _ parameters: [Parameter] = []
    ) async throws(PostgresError) -> Int {
        try await again { () throws(PostgresError) in
            try await withConnection { connection throws(PostgresError) in
                try connection.execute(sql, parameters).changed
            }
        }
    }

    /// Runs `body` between BEGIN and COMMIT, again when the server asks for it.
    package func transaction<T: Sendable>(
        _ body: @Sendable (borrowing Connection) throws(PostgresError) -> T
    ) async throws(PostgresError) -> T {
        try await again { () throws(PostgresError) in try await transactionOnce(body) }
    }

    /// The server asks for another try after a deadlock or a serialisation failure, having rolled
    /// everything back: five tries, with a short random wait so that the same two do not meet.
    private func again<T: Sendable>(
        _ body: () async throws(PostgresError) -> T
    ) async throws(PostgresError) -> T {
        for attempt in 1...4 {
            do {
                return try await body()
            } catch  where error.isRetryable {
                try? await Task.sleep(for: .milliseconds(Int.random(in: 1...(10 * attempt))))
            }
        }
        return try await body()
    }

    private func transactionOnce<T: Sendable>(
        _ body: @Sendable (borrowing Connection) throws(PostgresError) -> T
    ) async throws(PostgresError) -> T {
        try await withConnection { connection throws(PostgresError) in
            _ = try connection.execute("BEGIN")
            do throws(PostgresError) {
                let value = try body(connection)
                _ = try connection.execute("COMMIT")
                return value
            } catch {
                // The first error is the one to tell; a broken connection rolls back by itself.
                if !error.endsConnection { _ = try? connection.execute("ROLLBACK") }
                throw error
            }
        }
    }

    /// Starts listening; survives reconnects.
    package func listen(_ channel: String) async throws(PostgresError) {
        if !channels.contains(channel) { channels.append(channel) }
        try await withConnection { connection throws(PostgresError) in
            _ = try connection.execute("LISTEN \(channel)")
        }
    }

    /// Blocks this client's own queue until a notification comes or `timeout` passes.
    package func notifications(within timeout: Duration) async throws(PostgresError) -> [String] {
        try await withConnection { connection throws(PostgresError) in
            try connection.notifications(within: timeout)
        }
    }

    /// Takes the connection out, and puts it back if it can still be used.
    package func withConnection<T: Sendable>(
        _ body: @Sendable (borrowing Connection) throws(PostgresError) -> T
    ) async throws(PostgresError) -> T {
        let connection = try await connected()
        do {
            let value = try body(connection)
            self.connection = consume connection
            return value
        } catch {
            if !error.endsConnection { self.connection = consume connection }
            throw error
        }
    }

    private func connected() async throws(PostgresError) -> Connection {
        if let connection = connection.take() { return connection }
        if failedConnects > 0 {
            // 0.1 s doubling to 5 s, half of it random: a fleet must not return as one.
            let ceiling = min(5, 0.1 * Double(1 << min(failedConnects, 6)))
            try? await Task.sleep(for: .seconds(ceiling * .random(in: 0.5...1)))
            // Another call may have connected while this one slept.
            if let connection = connection.take() { return connection }
        }
        do {
            let connection = try Connection(settings)
            for channel in channels { _ = try connection.execute("LISTEN \(channel)") }
            failedConnects = 0
            return connection
        } catch {
            failedConnects += 1
            throw error
        }
    }
}
