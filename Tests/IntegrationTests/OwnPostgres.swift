// SPDX-License-Identifier: Apache-2.0
import Foundation
import Postgres
import Subprocess

@testable import Jobs

/// A Postgres server for one test, which may do with it what it likes.
struct OwnPostgres {
    private let folder: String
    private let options: String

    struct Failed: Error, CustomStringConvertible { let description: String }

    /// Calls `body` with a new server that has larder's schema, and removes it afterwards.
    static func with(
        _ options: String = "",
        _ body: (OwnPostgres) async throws -> Void
    ) async throws {
        let folder =
            FileManager.default.temporaryDirectory.path + "/larder-own-"
            + UUID().uuidString.lowercased().prefix(8)
        let own = OwnPostgres(folder: folder, options: options)
        do {
            try await own.shell(
                """
                mkdir -m 700 \(folder); [ "$(id -u)" -ne 0 ] || chown postgres \(folder)
                $as $bin/initdb -D \(folder)/data -U larder --auth=trust --encoding=UTF8 \
                    --locale=C.UTF-8
                """
            )
            try await own.start()
            _ = try await Migrator(Client(own.settings)).migrate()
            try await body(own)
        } catch {
            try? await own.remove()
            throw error
        }
        try await own.remove()
    }

    var settings: ConnectionSettings {
        ConnectionSettings("host=\(folder) user=larder dbname=postgres")
    }

    /// Where its socket is.
    var socket: String { folder + "/.s.PGSQL.5432" }

    func start() async throws {
        try await shell(
            """
            $as $bin/pg_ctl -D \(folder)/data -l \(folder)/log -w start -o "-c listen_addresses= \
                -c unix_socket_directories=\(folder) -c fsync=off \(options)"
            """
        )
    }

    /// `fast` or `immediate`, which is a crash.
    func stop(_ mode: String) async throws {
        try await shell("$as $bin/pg_ctl -D \(folder)/data -m \(mode) -w stop")
    }

    private func remove() async throws {
        try? await stop("immediate")
        try await shell("rm -rf \(folder)")
    }

    private func shell(_ script: String) async throws {
        let result = try await Subprocess.run(
            .name("sh"),
            arguments: [
                "-c",
                """
                set -e; cd /tmp
                bin=$(ls -d /usr/lib/postgresql/*/bin | sort -V | tail -1)
                as=""; [ "$(id -u)" -ne 0 ] || as="runuser -u postgres --"
                exec >\(folder).out 2>&1
                \(script)
                """,
            ],
            output: .discarded,
            error: .discarded
        )
        guard result.terminationStatus.isSuccess else {
            throw Failed(
                description: (try? String(contentsOfFile: folder + ".out", encoding: .utf8))
                    ?? script
            )
        }
        try? FileManager.default.removeItem(atPath: folder + ".out")
    }
}
