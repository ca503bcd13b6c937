// SPDX-License-Identifier: Apache-2.0
import CacheWriter
import Foundation
import Glibc
import Postgres
import Subprocess
import SystemPackage

/// The Postgres and Redis under `.larder`, for those who have none: real servers on Unix sockets,
/// started by the first command that needs them and stopped by the last one that leaves.
///
/// Every command holds a shared lock while it uses the servers. Who can turn his lock into an
/// exclusive one is alone, and turns off the light.
final class PrivateServers: Sendable {
    private let paths: ServerPaths
    private let usersLock: FileLock

    static func connectionTarget(_ paths: ServerPaths) -> String {
        "host='\(paths.sockets)' user=larder dbname=postgres"
    }

    var database: String { Self.connectionTarget(paths) }
    var redis: RedisAddress { RedisAddress(socket: paths.redisSocket) }

    /// Starts what is not running and joins its users.
    static func join(home: String, announce: (String) -> Void) async throws -> PrivateServers {
        // One command at a time looks and starts; who leaves meanwhile needs only the other lock.
        let starting = try FileLock(home + "/start.lock")
        starting.lock(exclusive: true)
        // Named, because a value may go away after its last use, and the lock with it.
        defer { starting.unlock() }
        let paths = try ServerPaths(home: home)
        try paths.prepare()
        let lock = try FileLock(home + "/servers.lock")
        lock.lock(exclusive: false)
        let servers = PrivateServers(paths, lock)
        do {
            try await servers.start(announce)
        } catch {
            await servers.leave()
            throw error
        }
        return servers
    }

    private init(_ paths: ServerPaths, _ lock: FileLock) {
        self.paths = paths
        usersLock = lock
    }

    /// Leaves; stops the servers if nobody else uses them.
    func leave() async {
        guard usersLock.tryLockExclusive() else { return }
        if let pgCtl = try? Self.program("pg_ctl") {
            _ = try? await launch(
                pgCtl,
                ["-D", paths.postgres, "-m", "fast", "-w", "-t", "60", "stop"]
            )
        }
        await stopRedis()
    }

    // MARK: starting

    private func start(_ announce: (String) -> Void) async throws {
        if !isPostgresUp() {
            announce("starting a private Postgres in \(paths.base)")
            try await startPostgres()
        }
        if await !isRedisUp() {
            announce("starting a private Redis in \(paths.base)")
            try await startRedis()
        }
    }

    private func startPostgres() async throws {
        let pgCtl = try Self.program("pg_ctl")
        if !FileManager.default.fileExists(atPath: paths.postgres + "/PG_VERSION") {
            try await launch(
                try Self.program("initdb"),
                [
                    "-D", paths.postgres, "-U", "larder", "--auth=trust", "--encoding=UTF8",
                    "--locale=C.UTF-8", "--no-instructions",
                ]
            )
        }
        let options =
            "-c listen_addresses='' -c unix_socket_directories='\(paths.sockets)'"
            + " -c unix_socket_permissions=0700 -c max_connections=100"
        try await launch(
            pgCtl,
            [
                "-D", paths.postgres, "-l", paths.postgresLog, "-o", options, "-w", "-t", "60",
                "start",
            ]
        )
    }

    private func startRedis() async throws {
        try await launch(
            try Self.program("redis-server"),
            [
                "--port", "0", "--unixsocket", paths.redisSocket, "--unixsocketperm", "700",
                "--daemonize", "yes", "--dir", paths.redis,
                "--logfile", paths.redisLog, "--maxmemory-policy", "noeviction",
                // For `publish: { compact: true }`; the name that Redis 6 knows too.
                "--hash-max-ziplist-value", "4096",
                // The lists are there for the next command, even after a kill -9.
                "--save", "", "--appendonly", "yes",
            ]
        )
        for _ in 0..<100 {
            if await isRedisUp() { return }
            try await Task.sleep(for: .milliseconds(50))
        }
        // Once more, for the reason.
        try await RedisClient(redis).command("PING")
    }

    private func isPostgresUp() -> Bool {
        var settings = ConnectionSettings(database)
        settings.connectTimeout = .seconds(2)
        return (try? Connection(settings)) != nil
    }

    private func isRedisUp() async -> Bool {
        (try? await RedisClient(redis, timeout: .seconds(2)).command("PING")) != nil
    }

    /// Asks the server on our own socket, which saves its lists and leaves: a pid file may be older
    /// than the process that has its number now.
    private func stopRedis() async {
        guard await isRedisUp() else { return }
        // It hangs up instead of answering.
        _ = try? await RedisClient(redis, timeout: .seconds(30)).command("SHUTDOWN")
        for _ in 0..<500 {
            if await !isRedisUp() { return }
            try? await Task.sleep(for: .milliseconds(20))
        }
    }

    /// Runs a program as the servers' user and waits for it to end.
    private func launch(_ program: String, _ arguments: [String]) async throws {
        var command = [program] + arguments
        if let account = paths.account {
            // Not PlatformOptions.userID: between fork and exec, glibc's setgroups waits for
            // threads that exist only in the parent, and now and then it waits for ever.
            command =
                [
                    try Self.program("setpriv"), "--reuid=\(account.user)",
                    "--regid=\(account.group)", "--clear-groups",
                ] + command
        }
        let result = try await Subprocess.run(
            .path(FilePath(command[0])),
            arguments: Arguments(Array(command.dropFirst())),
            workingDirectory: FilePath(paths.base),
            output: .string(limit: 65_536),
            error: .string(limit: 65_536)
        )
        guard result.terminationStatus.isSuccess else {
            let words = [result.standardError, result.standardOutput].compactMap(\.self)
                .joined(separator: "\n").trimmingCharacters(in: .whitespacesAndNewlines)
            throw SettingsError(
                """
                \(program) failed: \(words)
                hint: logs are in \(paths.base); or point LARDER_DATABASE_URL and \
                LARDER_REDIS_URL at servers of your own
                """
            )
        }
    }

    /// A server program on PATH, or where Debian keeps Postgres' programs.
    static func program(_ name: String) throws -> String {
        let path = ProcessInfo.processInfo.environment["PATH"] ?? ""
        let debian = (9...30).reversed().map { "/usr/lib/postgresql/\($0)/bin" }
        for folder in path.split(separator: ":").map(String.init) + debian {
            let candidate = folder + "/" + name
            if FileManager.default.isExecutableFile(atPath: candidate) { return candidate }
        }
        throw SettingsError(
            """
            there is no \(name) on PATH, so no private servers can be started
            hint: install postgresql and redis-server, or point LARDER_DATABASE_URL and \
            LARDER_REDIS_URL at servers of your own
            """
        )
    }
}
