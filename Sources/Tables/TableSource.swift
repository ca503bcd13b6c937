// SPDX-License-Identifier: Apache-2.0
private import Glibc
package import Postgres

/// Where a table is, as a pipeline file says it.
package struct TableSource: Sendable, Codable, Equatable {
    package enum Kind: String, Sendable, Codable, CaseIterable {
        case csv
        case tsv
        case jsonl
        case parquet
        case duckdb
        case postgres
    }

    package var kind: Kind
    /// A path or pattern; for `duckdb` and `postgres` a SELECT, for `postgres` also a table's name.
    package var text: String
    /// What relative paths in a query are relative to.
    package var folder: String?
    /// The environment variable that holds the URL of a Postgres server.
    ///
    /// Nil for the one that holds the queue. The URL itself would put a password into the queue.
    package var server: String?
    /// What the bytes of an address must hash to, in hexadecimal digits.
    package var sha256: String?

    package init(
        _ kind: Kind,
        _ text: String,
        folder: String? = nil,
        server: String? = nil,
        sha256: String? = nil
    ) {
        self.kind = kind
        self.text = text
        self.folder = folder
        self.server = server
        self.sha256 = sha256
    }

    /// Whether it is read over the network.
    package var isRemote: Bool { pattern.map(RemoteAddress.isOne) ?? false }

    /// The files it is read from; empty for queries.
    package var pattern: String? {
        switch kind {
        case .csv, .tsv, .jsonl, .parquet: text
        case .duckdb, .postgres: nil
        }
    }

    /// Bytes on this machine's disks; nil of queries, of Parquet, which others read, and of addresses.
    package var fileSize: Int? {
        guard let pattern, !isRemote, kind != .parquet,
            let paths = try? Table.paths(matching: pattern)
        else { return nil }
        var total = 0
        for path in paths {
            var status = stat()
            guard unsafe stat(path, &status) == 0 else { return nil }
            total += Int(status.st_size)
        }
        return total
    }

    /// What messages call it.
    package var name: String {
        // A query after an address may hold a signature.
        if isRemote { return RemoteAddress.name(of: text) }
        return pattern ?? "\(kind.rawValue): \(shortened(text))"
    }
}

/// What tables are opened with, beside what a pipeline says of them.
package struct TableContext: Sendable {
    /// The server that holds the queue.
    package let database: ConnectionSettings?

    package init(database: ConnectionSettings? = nil) { self.database = database }

    package func table(_ source: TableSource) throws(TableError) -> Table {
        switch source.kind {
        case .csv: try .files(source.text, .csv, sha256: source.sha256)
        case .tsv: try .files(source.text, .tsv, sha256: source.sha256)
        case .jsonl: try .files(source.text, .jsonl, sha256: source.sha256)
        case .parquet: try .parquet(source.text)
        case .duckdb: .duckDB(query: source.text, folder: source.folder ?? "/")
        case .postgres: .postgres(source.text, try server(of: source))
        }
    }

    private func server(of source: TableSource) throws(TableError) -> ConnectionSettings {
        guard let variable = source.server else {
            guard let database else { throw .input("\(source.name): there is no database here") }
            return database
        }
        guard let url = unsafe getenv(variable) else {
            throw .input(
                "\(source.name): the environment variable \(variable) is not set",
                hint: "it should hold the server's URL where the worker runs"
            )
        }
        return ConnectionSettings(unsafe String(cString: url))
    }
}
