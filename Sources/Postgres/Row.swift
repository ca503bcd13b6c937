// SPDX-License-Identifier: Apache-2.0
private import CLibPQ
private import Glibc

/// A value that Postgres' text format can be read as.
package protocol PostgresText {
    init?(postgresText: String)
}

extension Int: PostgresText {
    package init?(postgresText text: String) { self.init(text) }
}

extension Double: PostgresText {
    package init?(postgresText text: String) { self.init(text) }
}

extension String: PostgresText {
    package init?(postgresText text: String) { self = text }
}

extension Bool: PostgresText {
    package init?(postgresText text: String) {
        switch text {
        case "t": self = true
        case "f": self = false
        default: return nil
        }
    }
}

/// The rows of one answer, freed when the value goes out of scope.
@safe package struct Rows: ~Copyable {
    private let result: OpaquePointer

    /// Takes ownership first and checks second, so that an error result is freed too.
    init(adopting result: OpaquePointer) throws(PostgresError) {
        unsafe self.result = result
        switch unsafe PQresultStatus(result) {
        case PGRES_COMMAND_OK, PGRES_TUPLES_OK, PGRES_COPY_IN, PGRES_COPY_OUT, PGRES_EMPTY_QUERY,
            PGRES_PIPELINE_SYNC:
            return
        default:
            throw unsafe PostgresError(rejected: self.result)
        }
    }

    deinit { unsafe PQclear(result) }

    /// The server now sends or awaits COPY data.
    var startsCopy: Bool {
        let status = unsafe PQresultStatus(result)
        return status == PGRES_COPY_IN || status == PGRES_COPY_OUT
    }

    var endsPipeline: Bool { unsafe PQresultStatus(result) == PGRES_PIPELINE_SYNC }

    package var count: Int { unsafe Int(PQntuples(result)) }

    /// The names of the columns, and their types by the numbers of `pg_type`.
    package var columns: [(name: String, type: UInt32)] {
        unsafe (0..<PQnfields(result)).map { place in
            unsafe (String(cString: PQfname(result, place)), PQftype(result, place))
        }
    }

    /// Rows that an INSERT, UPDATE, DELETE or COPY changed.
    package var changed: Int {
        unsafe Int(String(cString: PQcmdTuples(result))) ?? 0
    }

    package borrowing func map<T>(
        _ body: (borrowing Row) throws(PostgresError) -> T
    ) throws(PostgresError) -> [T] {
        var values: [T] = []
        values.reserveCapacity(count)
        for index in 0..<count {
            try values.append(body(unsafe Row(result: result, index: Int32(index))))
        }
        return values
    }
}

/// One row while `Rows.map` looks at it; not copyable, so that it cannot outlive its answer.
@safe package struct Row: ~Copyable {
    fileprivate let result: OpaquePointer
    fileprivate let index: Int32

    fileprivate init(result: OpaquePointer, index: Int32) {
        unsafe self.result = result
        self.index = index
    }

    package borrowing func decode<T: PostgresText>(
        _ column: String,
        _ type: T.Type = T.self
    ) throws(PostgresError) -> T {
        guard let value = try decodeIfPresent(column, type) else {
            throw PostgresError(.decoding, message: "column \"\(column)\" is null")
        }
        return value
    }

    package borrowing func decodeIfPresent<T: PostgresText>(
        _ column: String,
        _ type: T.Type = T.self
    ) throws(PostgresError) -> T? {
        guard let number = number(of: column) else {
            throw PostgresError(.decoding, message: "the answer has no column \"\(column)\"")
        }
        if unsafe PQgetisnull(result, index, number) == 1 { return nil }
        let text = unsafe String(cString: PQgetvalue(result, index, number))
        guard let value = T(postgresText: text) else {
            throw PostgresError(
                .decoding,
                message: "column \"\(column)\" cannot be read as \(type)"
            )
        }
        return value
    }
}

extension Row {
    /// Not PQfnumber, which copies and case-folds the name each time.
    private borrowing func number(of column: String) -> Int32? {
        for number in 0..<(unsafe PQnfields(result))
        where unsafe strcmp(PQfname(result, number), column) == 0 {
            return number
        }
        return nil
    }
}

extension PostgresError {
    fileprivate init(rejected result: OpaquePointer) {
        func field(_ code: Int32) -> String? {
            unsafe PQresultErrorField(result, code).map { unsafe String(cString: $0) }
        }
        let state = field(larder_diag_sqlstate)
        // Class 57P: the server is shutting down or has killed us. Class 08: it lost us.
        // A statement that a pipeline skipped has no state at all.
        let wasSkipped = unsafe PQresultStatus(result) == PGRES_PIPELINE_ABORTED
        let gone = state.map { $0.hasPrefix("57P") || $0.hasPrefix("08") } ?? !wasSkipped
        let words = field(larder_diag_primary)
        let wholeMessage = unsafe String(cString: PQresultErrorMessage(result)).trimmed
        self.init(
            gone ? .connection : .statement,
            sqlState: state,
            message: words ?? wholeMessage,
            detail: field(larder_diag_detail),
            hint: field(larder_diag_hint)
        )
    }
}

extension String {
    /// Without the line breaks that libpq ends its messages with.
    var trimmed: String {
        var text = Substring(self)
        while let last = text.last, last.isWhitespace { text.removeLast() }
        return String(text)
    }
}
