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

    /// Runs one statement and decodes its rows.
    package func query<T: Sendable>(
        _ sql: String,
        _ parameters: [Parameter] = [],
        _ decode: @Sendable (borrowing Row) throws(PostgresError) -> T
    ) async throws(PostgresError) -> [T] {
        try await withConnection { connection throws(PostgresError) in
            try connection.execute(sql, parameters).map(decode)
        }
    }

    /// Runs one statement and returns how many rows it changed.
    @discardableResult
    package func execute(
        _ sql: String,
        _ parameters: [Parameter] = []
    ) async throws(PostgresError) -> Int {
        try await withConnection { connection throws(PostgresError) in
            try connection.execute(sql, parameters).changed
        }
    }

    /// Runs `body` between BEGIN and COMMIT, again when the server asks for it (deadlock,
    /// serialisation failure), at most three times.
    package func transaction<T: Sendable>(
        _ body: @Sendable (borrowing Connection) throws(PostgresError) -> T
    ) async throws(PostgresError) -> T {
        for _ in 0..<2 {
            do {
                return try await transactionOnce(body)
            } catch  where error.isRetryable {
                continue
            }
        }
        return try await transactionOnce(body)
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
        channels.append(channel)
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
