// SPDX-License-Identifier: Apache-2.0
private import CLibPQ
private import Glibc

/// Where a Postgres server is and how long to wait for it.
package struct ConnectionSettings: Sendable {
    /// A URL (`postgres://…`) or a libpq keyword string; empty means libpq's PG* environment.
    package var target: String
    package var connectTimeout: Duration = .seconds(10)
    /// Enforced by the server and, a little later, by us: a half-open socket answers never.
    package var statementTimeout: Duration = .seconds(30)

    package init(_ target: String) { self.target = target }
}

/// One libpq connection, closed when the value goes out of scope.
///
/// It has exactly one owner: no two tasks can reach the same `PGconn`, and nothing can close it
/// twice. Every call blocks; `Client` keeps it on a queue of its own.
@safe package struct Connection: ~Copyable {
    let handle: OpaquePointer
    private let statementTimeout: Duration

    package init(_ settings: ConnectionSettings) throws(PostgresError) {
        let opened: OpaquePointer
        do {
            unsafe opened = try unsafe Self.open(ConnectionParameters(settings))
        } catch {
            // PgBouncer takes no `options`. Our own time limits stay; what the server should do to
            // idle transactions is then the role's to say.
            guard error.message.contains("unsupported startup parameter") else { throw error }
            unsafe opened = try unsafe Self.open(
                ConnectionParameters(settings, withOptions: false)
            )
        }
        unsafe handle = opened
        statementTimeout = settings.statementTimeout
        // Notices would go to our standard error, between the lines of a progress bar.
        _ = unsafe PQsetNoticeProcessor(handle, { _, _ in }, nil)
    }

    private static func open(
        _ parameters: ConnectionParameters
    ) throws(PostgresError) -> OpaquePointer {
        let opened = unsafe withCStrings(parameters.names) { names in
            unsafe withCStrings(parameters.values) { values in
                unsafe PQconnectdbParams(names, values, 1)
            }
        }
        // Nil only when libpq cannot allocate.
        guard let handle = unsafe opened else {
            throw PostgresError(.connection, message: "out of memory")
        }
        guard unsafe PQstatus(handle) == CONNECTION_OK else {
            defer { unsafe PQfinish(handle) }
            throw unsafe PostgresError(
                .connection,
                message: String(cString: PQerrorMessage(handle)).trimmed
            )
        }
        return unsafe handle
    }

    deinit { unsafe PQfinish(handle) }

    /// Runs one statement with parameters.
    package borrowing func execute(
        _ sql: String,
        _ parameters: [Parameter] = []
    ) throws(PostgresError) -> Rows {
        let sent = unsafe withCStrings(parameters.map(\.text)) { values in
            unsafe PQsendQueryParams(
                handle,
                sql,
                Int32(parameters.count),
                nil,
                values,
                nil,
                nil,
                0
            )
        }
        guard sent == 1 else { throw lost() }
        return try lastResult()
    }

    /// Runs statements in one transaction and one round trip, by libpq's pipeline mode.
    ///
    /// `body` gets the rows of each, in order, when all have succeeded up to there.
    package borrowing func executeTogether(
        _ statements: [(sql: String, parameters: [Parameter])],
        _ body: (_ index: Int, borrowing Rows) throws(PostgresError) -> Void
    ) throws(PostgresError) {
        guard unsafe PQenterPipelineMode(handle) == 1 else { throw lost() }
        for (sql, parameters) in statements {
            let sent = unsafe withCStrings(parameters.map(\.text)) { values in
                unsafe PQsendQueryParams(
                    handle,
                    sql,
                    Int32(parameters.count),
                    nil,
                    values,
                    nil,
                    nil,
                    0
                )
            }
            guard sent == 1 else { throw lost() }
        }
        // Without a BEGIN all statements up to the sync are one transaction.
        guard unsafe PQpipelineSync(handle) == 1 else { throw lost() }
        let deadline = ContinuousClock.now + statementTimeout + .seconds(5)
        var failure: PostgresError?
        for index in statements.indices {
            do throws(PostgresError) {
                guard let rows = try nextResult(until: deadline) else { throw lost() }
                _ = try nextResult(until: deadline)
                try body(index, rows)
            } catch {
                if error.endsConnection { throw error }
                // What follows the first failure was skipped because of it.
                failure = failure ?? error
            }
        }
        guard let sync = try nextResult(until: deadline), sync.endsPipeline,
            unsafe PQexitPipelineMode(handle) == 1
        else { throw lost() }
        if let failure { throw failure }
    }

    /// Runs several statements without parameters, as a migration file holds them.
    package borrowing func executeScript(_ sql: String) throws(PostgresError) {
        guard unsafe PQsendQuery(handle, sql) == 1 else { throw lost() }
        _ = try lastResult()
    }

    /// Waits up to `timeout` and returns the channels that were notified since the last call.
    package borrowing func notifications(within timeout: Duration) throws(PostgresError) -> [String]
    {
        let deadline = ContinuousClock.now + timeout
        while true {
            guard unsafe PQconsumeInput(handle) == 1 else { throw lost() }
            var channels: [String] = []
            while let notification = unsafe PQnotifies(handle) {
                unsafe channels.append(String(cString: notification.pointee.relname))
                unsafe PQfreemem(notification)
            }
            if !channels.isEmpty { return channels }
            guard try waitForSocket(Int16(POLLIN), until: deadline) else { return [] }
        }
    }

    // MARK: waiting

    /// The result of the last statement sent; results of earlier ones are checked and dropped.
    borrowing func lastResult() throws(PostgresError) -> Rows {
        let deadline = ContinuousClock.now + statementTimeout + .seconds(5)
        guard var rows = try nextResult(until: deadline) else { throw lost() }
        // In COPY mode the next result comes only when the copy has ended.
        while !rows.startsCopy {
            guard let next = try nextResult(until: deadline) else { break }
            rows = next
        }
        return rows
    }

    /// Nil when the statement has no more results.
    private borrowing func nextResult(
        until deadline: ContinuousClock.Instant
    ) throws(PostgresError) -> Rows? {
        while unsafe PQflush(handle) == 1 {
            try expectSocket(Int16(POLLIN | POLLOUT), until: deadline)
            guard unsafe PQconsumeInput(handle) == 1 else { throw lost() }
        }
        while unsafe PQisBusy(handle) == 1 {
            try expectSocket(Int16(POLLIN), until: deadline)
            guard unsafe PQconsumeInput(handle) == 1 else { throw lost() }
        }
        guard let result = unsafe PQgetResult(handle) else { return nil }
        do {
            return try unsafe Rows(adopting: result)
        } catch {
            // After a refusal the connection is usable once the statement's other results are read.
            if !error.endsConnection {
                while let rest = unsafe PQgetResult(handle) { unsafe PQclear(rest) }
            }
            throw error
        }
    }

    private borrowing func expectSocket(
        _ events: Int16,
        until deadline: ContinuousClock.Instant
    ) throws(PostgresError) {
        guard try waitForSocket(events, until: deadline) else {
            throw PostgresError(
                .timeout,
                message: "no reply within \(statementTimeout + .seconds(5))",
                hint: "see pg_stat_activity for what the server is doing"
            )
        }
    }

    borrowing func waitForSocket(
        _ events: Int16,
        until deadline: ContinuousClock.Instant
    ) throws(PostgresError) -> Bool {
        let left = max(.zero, deadline - .now)
        var descriptor = pollfd(fd: unsafe PQsocket(handle), events: events, revents: 0)
        let ready = unsafe poll(&descriptor, 1, Int32(left / .milliseconds(1)) + 1)
        if ready < 0 && errno != EINTR { throw lost() }
        return ready > 0 || ContinuousClock.now < deadline
    }

    borrowing func lost() -> PostgresError {
        let words = unsafe String(cString: PQerrorMessage(handle)).trimmed
        return PostgresError(
            .connection,
            message: words.isEmpty ? "the connection was closed" : words
        )
    }
}

/// What `PQconnectdbParams` is given: the caller's target first, so that ours only fills gaps.
private struct ConnectionParameters {
    var names: [String?] = []
    var values: [String?] = []

    init(_ settings: ConnectionSettings, withOptions: Bool = true) throws(PostgresError) {
        var given: [String: String] = [:]
        if !settings.target.isEmpty {
            // Parsed here because libpq's own message can quote a mistyped URL, password and all.
            guard let options = unsafe PQconninfoParse(settings.target, nil) else {
                throw PostgresError(
                    .connection,
                    message: "the database URL cannot be read",
                    hint: "it looks like postgres://user:password@host:5432/database"
                )
            }
            defer { unsafe PQconninfoFree(options) }
            var option = unsafe options
            while let keyword = unsafe option.pointee.keyword {
                if let value = unsafe option.pointee.val {
                    unsafe given[String(cString: keyword)] = unsafe String(cString: value)
                }
                unsafe option += 1
            }
        }
        let statementMilliseconds = Int(settings.statementTimeout / .milliseconds(1))
        let ours = [
            "connect_timeout": String(max(1, Int(settings.connectTimeout / .seconds(1)))),
            "fallback_application_name": "larder",
            // Half-open TCP connections are found in about 30 s.
            "keepalives": "1", "keepalives_idle": "10", "keepalives_interval": "5",
            "keepalives_count": "3", "tcp_user_timeout": "30000",
        ]
        let sessionOptions =
            "-c statement_timeout=\(statementMilliseconds)"
            + " -c idle_in_transaction_session_timeout=30000 -c client_min_messages=warning"
        if withOptions {
            // What libpq would have taken from the environment, had we not set any.
            let environment = unsafe getenv("PGOPTIONS").map { unsafe String(cString: $0) }
            given["options"] =
                sessionOptions + " " + (given["options"] ?? environment ?? "")
        }
        for (name, value) in given.merging(ours, uniquingKeysWith: { theirs, _ in theirs }) {
            names.append(name)
            values.append(value)
        }
        names.append(nil)
        values.append(nil)
    }
}

/// Calls `body` with C strings that live as long as the call.
private func withCStrings<R>(
    _ strings: [String?],
    _ body: (UnsafePointer<UnsafePointer<CChar>?>?) -> R
) -> R {
    var bytes: [CChar] = []
    let offsets = strings.map { string -> Int? in
        guard let string else { return nil }
        let offset = bytes.count
        bytes.append(contentsOf: string.utf8CString)
        return offset
    }
    return unsafe bytes.withUnsafeBufferPointer { buffer in
        let pointers = unsafe offsets.map { offset -> UnsafePointer<CChar>? in
            guard let offset, let start = buffer.baseAddress else { return nil }
            return unsafe start + offset
        }
        return unsafe pointers.withUnsafeBufferPointer { unsafe body($0.baseAddress) }
    }
}
