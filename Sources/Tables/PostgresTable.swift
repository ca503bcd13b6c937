// SPDX-License-Identifier: Apache-2.0
package import Postgres

extension Table {
    /// The rows of a Postgres table or SELECT, by binary COPY in a read-only transaction.
    ///
    /// The server turns values into texts, timestamps into seconds; so any type can be an id.
    package static func postgres(_ query: String, _ server: ConnectionSettings) -> Table {
        let isName =
            query.wholeMatch(of: /[A-Za-z_][A-Za-z0-9_$]*(\.[A-Za-z_][A-Za-z0-9_$]*)?/) != nil
        let select = isName ? "SELECT * FROM \(query)" : query
        let name = "postgres: " + shortened(query)
        return Table(name: name, .postgresCopy) { columns, _ in
            [
                Part(name: name) { check in
                    try PostgresCopyStream(name, select, server, columns.map(\.name), check)
                }
            ]
        }
    }
}

/// A query in one line, as a message names it.
func shortened(_ query: String) -> String {
    let words = query.split(whereSeparator: \.isWhitespace).joined(separator: " ")
    return words.count > 60 ? words.prefix(59) + "…" : words
}

private final class PostgresCopyStream: ByteStream, @unchecked Sendable {
    let name: String
    var consumed: Int { 0 }
    private let connection: Connection
    private let check: Table.Check
    /// Rows that the server has sent and nobody has read.
    private var pending: [UInt8] = []
    private var hasBegun = false
    private var isFirst = true
    private var isOver = false

    /// The signature, the flags, and the length of an extension that is empty.
    private static let header = 19
    private static let end: [UInt8] = [0xff, 0xff]

    init(
        _ name: String,
        _ select: String,
        _ server: ConnectionSettings,
        _ columns: [String],
        _ check: @escaping Table.Check
    ) throws {
        self.name = name
        self.check = check
        var server = server
        // How long it may take is the job's to say; `check` ends it.
        server.statementTimeout = .seconds(7 * 86_400)
        do throws(PostgresError) {
            connection = try Connection(server)
            _ = try connection.execute("BEGIN READ ONLY")
            let known = try connection.execute("SELECT * FROM (\(select)\n) AS q LIMIT 0").columns
            let wanted = try Self.expressions(columns, known, name)
            // The outcome must not depend on the session's settings.
            _ = try connection.execute("SET LOCAL timezone = 'UTC'")
            try connection.sendCopyOut(
                "COPY (SELECT \(wanted) FROM (\(select)\n) AS q) TO STDOUT (FORMAT binary)"
            )
        } catch {
            throw Self.tableError(name, error)
        }
    }

    private static func expressions(
        _ columns: [String],
        _ known: [(name: String, type: UInt32)],
        _ name: String
    ) throws(PostgresError) -> String {
        var expressions: [String] = []
        for column in columns {
            guard let type = known.first(where: { $0.name == column })?.type else {
                let near = EditDistance.nearest(to: column, in: known.map(\.name))
                throw PostgresError(
                    .statement,
                    message:
                        "there is no column \"\(column)\"; there is \(known.map(\.name).joined(separator: ", "))",
                    hint: near.map { "did you mean \"\($0)\"?" }
                )
            }
            let quoted = "q.\"\(column.replacing("\"", with: "\"\""))\""
            // date, timestamp, timestamptz
            let isTime = [1082, 1114, 1184].contains(type)
            expressions.append(isTime ? "extract(epoch FROM \(quoted))::text" : "\(quoted)::text")
        }
        return expressions.joined(separator: ", ")
    }

    private static func tableError(_ name: String, _ error: PostgresError) -> TableError {
        error.endsConnection || error.isTransient
            ? .unreadable(name, error.message)
            : .input("\(name): \(error.message)", hint: error.hint)
    }

    func read(into buffer: UnsafeMutableRawBufferPointer) throws -> Int {
        do {
            while !hasBegun {
                hasBegun = try connection.hasBegunCopy(within: .milliseconds(500))
                if !hasBegun { try check() }
            }
            while pending.count < min(buffer.count, 1 << 16), !isOver {
                let copied = try unsafe connection.nextCopied(within: .milliseconds(500)) { piece in
                    let rows = unsafe UnsafeRawBufferPointer(
                        rebasing: piece.dropFirst(isFirst ? Self.header : 0)
                    )
                    unsafe pending.append(contentsOf: rows)
                    isFirst = false
                }
                switch copied {
                case .piece: continue
                case .nothingYet: try check()
                case .end:
                    isOver = true
                    if pending.suffix(2).elementsEqual(Self.end) { pending.removeLast(2) }
                }
            }
        } catch let error as PostgresError {
            throw Self.tableError(name, error)
        }
        let count = min(pending.count, buffer.count)
        unsafe pending.withUnsafeBytes {
            unsafe buffer.copyMemory(from: .init(rebasing: $0[..<count]))
        }
        pending.removeFirst(count)
        return count
    }
}

/// Rows of a binary COPY of which every value is a text: a count of fields, and of each field its
/// length, -1 for null, and its bytes; numbers are big-endian.
struct PostgresCopyScanner: RecordScanner {
    func wholeRecords(in bytes: UnsafeRawBufferPointer) -> Int {
        var end = 0
        var at = 0
        while at + 2 <= bytes.count {
            let fields = unsafe Int16(
                bigEndian: bytes.loadUnaligned(fromByteOffset: at, as: Int16.self)
            )
            at += 2
            for _ in 0..<max(0, fields) {
                guard at + 4 <= bytes.count else { return end }
                let length = unsafe Int32(
                    bigEndian: bytes.loadUnaligned(fromByteOffset: at, as: Int32.self)
                )
                at += 4 + Int(max(0, length))
            }
            guard at <= bytes.count else { return end }
            end = at
        }
        return end
    }

    func next(
        in bytes: UnsafeMutableRawBufferPointer,
        _ position: inout Int,
        _ line: inout Int,
        _ fields: inout Fields
    ) -> Scan {
        guard position + 2 <= bytes.count else { return .end }
        fields.removeAll()
        let count = unsafe Int16(
            bigEndian: bytes.loadUnaligned(fromByteOffset: position, as: Int16.self)
        )
        var at = position + 2
        for _ in 0..<max(0, count) {
            guard at + 4 <= bytes.count else { break }
            let length = unsafe Int32(
                bigEndian: bytes.loadUnaligned(fromByteOffset: at, as: Int32.self)
            )
            at += 4
            let end = min(at + Int(max(0, length)), bytes.count)
            fields.append(at, end)
            at = end
        }
        position = at
        line += 1
        return .record(line: line - 1)
    }
}
