// SPDX-License-Identifier: Apache-2.0
private import Glibc

extension Table {
    /// The rows of Parquet files: a path or a pattern, which means what it means everywhere here.
    package static func parquet(_ pattern: String) throws(TableError) -> Table {
        let paths = try paths(matching: pattern).map(DuckDB.quoted).joined(separator: ", ")
        return duckDB(name: pattern, "read_parquet([\(paths)])")
    }

    /// The rows of a SELECT that DuckDB runs over files, of which relative paths are in `folder`.
    package static func duckDB(query: String, folder: String) -> Table {
        // query() takes one SELECT and nothing else, so that no statement can write.
        duckDB(
            name: "duckdb: " + shortened(query),
            "query(\(DuckDB.quoted(query)))",
            folder: folder
        )
    }

    private static func duckDB(name: String, _ source: String, folder: String = "/") -> Table {
        Table(name: name, .delimited(.csv)) { columns, _ in
            // A column that is wanted as two things is selected once.
            var names: [String] = []
            for column in columns where !names.contains(column.name) { names.append(column.name) }
            let list = names.map(DuckDB.identifier).joined(separator: ", ")
            let copy =
                "SET TimeZone = 'UTC'; SET file_search_path = \(DuckDB.quoted(folder)); COPY (SELECT \(list) FROM \(source)) TO '/dev/stdout' (FORMAT csv, HEADER true)"
            return [Part(name: name) { check in try DuckDB(name, copy, check) }]
        }
    }
}

/// The `duckdb` program, as a child process whose output is read as it comes.
private final class DuckDB: ByteStream, @unchecked Sendable {
    let name: String
    var consumed: Int { 0 }
    private let check: Table.Check
    private var pid: pid_t = 0
    private var output: Int32 = -1
    /// What it says on standard error; a file, so that it cannot fill up as a pipe can.
    private var errors: Int32 = -1
    private var hasEnded = false

    static func quoted(_ text: String) -> String {
        "'" + text.replacing("'", with: "''") + "'"
    }

    static func identifier(_ name: String) -> String {
        "\"" + name.replacing("\"", with: "\"\"") + "\""
    }

    init(
        _ name: String,
        _ sql: String,
        _ check: @escaping Table.Check
    ) throws(TableError) {
        self.name = name
        self.check = check
        let program = unsafe getenv("LARDER_DUCKDB").map { unsafe String(cString: $0) } ?? "duckdb"
        var pipe: [Int32] = [-1, -1]
        guard unsafe Glibc.pipe(&pipe) == 0 else { throw .unreadable(name, lastError()) }
        for end in pipe { _ = fcntl(end, F_SETFD, FD_CLOEXEC) }
        // F_SETPIPE_SZ, which Swift cannot see; a mebibyte is what anyone may have.
        _ = fcntl(pipe[0], 1031, Int32(1 << 20))
        output = pipe[0]
        var path = Array("/tmp/larder-duckdb-XXXXXX".utf8CString)
        errors = unsafe mkstemp(&path)
        _ = unsafe unlink(path)
        _ = fcntl(errors, F_SETFD, FD_CLOEXEC)
        var actions = unsafe posix_spawn_file_actions_t()
        unsafe posix_spawn_file_actions_init(&actions)
        defer { unsafe posix_spawn_file_actions_destroy(&actions) }
        unsafe posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0)
        unsafe posix_spawn_file_actions_adddup2(&actions, pipe[1], 1)
        unsafe posix_spawn_file_actions_adddup2(&actions, errors, 2)
        // A group of its own, because the program of PyPI starts the real one.
        var attributes = posix_spawnattr_t()
        unsafe posix_spawnattr_init(&attributes)
        defer { unsafe posix_spawnattr_destroy(&attributes) }
        unsafe posix_spawnattr_setpgroup(&attributes, 0)
        unsafe posix_spawnattr_setflags(&attributes, Int16(POSIX_SPAWN_SETPGROUP))
        let words = [program, "-init", "/dev/null", "-batch", "-bail", "-c", sql]
        var arguments = unsafe words.map { unsafe strdup($0) } + [nil]
        defer { unsafe arguments.forEach { unsafe free($0) } }
        let failure = unsafe posix_spawnp(&pid, program, &actions, &attributes, &arguments, environ)
        close(pipe[1])
        guard failure == 0 else {
            throw .input(
                "\(name): this needs DuckDB, and \"\(program)\" cannot be run: \(unsafe String(cString: strerror(failure)))",
                hint: "`pip install duckdb-cli` brings it; LARDER_DUCKDB names another program"
            )
        }
    }

    deinit {
        if pid > 0 && !hasEnded {
            kill(-pid, SIGKILL)
            _ = waitpid(pid, nil, 0)
        }
        close(output)
        close(errors)
    }

    func read(into buffer: UnsafeMutableRawBufferPointer) throws -> Int {
        while true {
            var waiting = pollfd(fd: output, events: Int16(POLLIN), revents: 0)
            if unsafe poll(&waiting, 1, 500) == 0 {
                try check()
                continue
            }
            let count = unsafe Glibc.read(output, buffer.baseAddress, buffer.count)
            if count < 0 && errno == EINTR { continue }
            if count < 0 { throw TableError.unreadable(name, lastError()) }
            if count == 0 { try end() }
            return count
        }
    }

    /// Output that ends is whole only if the program says so.
    private func end() throws(TableError) {
        guard !hasEnded else { return }
        var status: Int32 = 0
        while unsafe waitpid(pid, &status, 0) < 0 && errno == EINTR {}
        hasEnded = true
        guard status != 0 else { return }
        var text = [UInt8](repeating: 0, count: 2000)
        let count = max(0, unsafe pread(errors, &text, text.count, 0))
        let words = String(decoding: text[..<count], as: UTF8.self)
            .split(separator: "\n").map { $0.drop { $0 == " " } }.filter { !$0.isEmpty }
            .prefix(6).joined(separator: "\n  ")
        throw .input("\(name): DuckDB failed: \(words.isEmpty ? "status \(status)" : words)")
    }
}
