// SPDX-License-Identifier: Apache-2.0

/// What went wrong between us and Postgres, in words for a person.
///
/// The text holds the server's own words and the SQLSTATE, never a password, a connection
/// string or a parameter value.
package struct PostgresError: Error, CustomStringConvertible, Equatable {
    package enum Kind: Sendable, Equatable {
        /// The server cannot be reached, or the connection broke. Nothing is known about a
        /// statement that was under way: it may have been committed.
        case connection
        /// The server read the statement and refused it.
        case statement
        /// No answer within the client's own time limit; the connection was dropped.
        case timeout
        /// A value came back that is not of the type asked for.
        case decoding
    }

    package let kind: Kind
    /// Five characters from the SQL standard and the Postgres manual, appendix A.
    package let sqlState: String?
    package let message: String
    package let detail: String?
    package let hint: String?

    package init(
        _ kind: Kind,
        sqlState: String? = nil,
        message: String,
        detail: String? = nil,
        hint: String? = nil
    ) {
        self.kind = kind
        self.sqlState = sqlState
        self.message = message
        self.detail = detail
        self.hint = hint
    }

    /// The connection cannot be used after this error.
    package var endsConnection: Bool { kind == .connection || kind == .timeout }

    /// The whole transaction was rolled back by the server for a reason that running it again
    /// may cure: serialisation failure or deadlock.
    package var isRetryable: Bool { sqlState == "40001" || sqlState == "40P01" }

    /// Worth the same statement again, a little later: the server is away, busy, full, read-only
    /// after a failover, or has cancelled the statement.
    package var isTransient: Bool {
        guard let sqlState else { return endsConnection }
        return endsConnection || isRetryable || sqlState == "57014" || sqlState == "25006"
            || sqlState.hasPrefix("53")
    }

    /// Tables or functions are not there, or not as this program knows them.
    package var isOfMissingSchema: Bool {
        ["42P01", "42703", "42883", "3F000"].contains(sqlState)
    }

    package var description: String {
        var text =
            switch kind {
            case .connection: "Postgres cannot be reached: \(message)"
            case .statement: "Postgres refused a statement (\(sqlState ?? "?")): \(message)"
            case .timeout: "Postgres did not answer: \(message)"
            case .decoding: "Postgres sent an unexpected value: \(message)"
            }
        if let detail { text += "; \(detail)" }
        if let hint { text += "\nhint: \(hint)" }
        return text
    }
}
