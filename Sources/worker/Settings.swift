// SPDX-License-Identifier: Apache-2.0
import ArgumentParser
import Artifacts
import CacheWriter
import Foundation
import Glibc
import Jobs
import Logging
import Postgres
import Predictor

/// A setting or a surrounding that will not do, in words for a person.
struct SettingsError: Error, CustomStringConvertible {
    let description: String
    init(_ description: String) { self.description = description }
}

/// Options of every command that needs the stores: flag, then environment, then default.
struct StoreOptions: ParsableArguments {
    @Option(
        help: ArgumentHelp(
            "Postgres, as postgres://user:password@host/database.",
            discussion: "Default: $LARDER_DATABASE_URL, libpq's $PG*, or a private server."
        )
    )
    var databaseURL: String?

    @Option(
        help: ArgumentHelp(
            "Redis, as redis://host:6379/0 or unix:///path.",
            discussion: "Default: $LARDER_REDIS_URL, or a private server."
        )
    )
    var redisURL: String?

    @Option(
        help:
            "Folder of datasets and models, or s3://bucket/prefix. Default: $LARDER_ARTIFACTS or HOME/artifacts."
    )
    var artifacts: String?

    @Option(help: "Folder of everything private. Default: $LARDER_HOME or ./.larder.")
    var home: String?

    @Flag(help: "Print JSON for machines.")
    var json = false

    private static func environment(_ name: String) -> String? {
        let value = ProcessInfo.processInfo.environment[name] ?? ""
        return value.isEmpty ? nil : value
    }

    /// Empty where libpq's own variables say it.
    static var databaseOfEnvironment: String? {
        environment("LARDER_DATABASE_URL")
            ?? (environment("PGHOST") ?? environment("PGSERVICE")).map { _ in "" }
    }

    func homeFolder() throws -> String {
        let path = home ?? Self.environment("LARDER_HOME") ?? ".larder"
        let absolute = URL(filePath: path).absoluteURL.standardized.path
        do {
            try FileManager.default.createDirectory(
                atPath: absolute,
                withIntermediateDirectories: true
            )
        } catch {
            throw SettingsError("cannot make the folder \(absolute): \(error.localizedDescription)")
        }
        return absolute
    }

    /// Calls `body` with the stores; starts private servers first where no URL is given, and
    /// leaves them when `body` returns.
    ///
    /// `checking`: whether Postgres must have larder's schema; without it, nothing is asked of it.
    func withServices<T>(
        migrating: Bool = false,
        checking: Bool = true,
        _ body: (Services, _ isPrivate: Bool) async throws -> T
    ) async throws -> T {
        let database = databaseURL ?? Self.databaseOfEnvironment
        let redisText = redisURL ?? Self.environment("LARDER_REDIS_URL")
        let address = try redisText.map { text in
            guard let address = RedisAddress(text) else {
                throw SettingsError(
                    "the Redis URL cannot be read\nhint: it looks like redis://host:6379/0"
                )
            }
            return address
        }
        let store = try artifactStore()
        if let database, let address {
            return try await use(database, address, store, migrating, checking, false, body)
        }
        let servers = try await PrivateServers.join(home: homeFolder()) { note($0) }
        do {
            // A private database is nobody's to migrate by hand.
            let value = try await use(
                database ?? servers.database,
                address ?? servers.redis,
                store,
                database == nil || migrating,
                checking,
                database == nil,
                body
            )
            await servers.leave()
            return value
        } catch {
            await servers.leave()
            throw error
        }
    }

    private func use<T>(
        _ database: String,
        _ redis: RedisAddress,
        _ artifacts: ArtifactStore,
        _ migrating: Bool,
        _ checking: Bool,
        _ isPrivate: Bool,
        _ body: (Services, Bool) async throws -> T
    ) async throws -> T {
        let services = Services(
            database: ConnectionSettings(database),
            redis: redis,
            artifacts: artifacts
        )
        if migrating {
            for name in try await services.migrator.migrate() { note("migrated to \(name)") }
        } else if checking {
            try await services.migrator.check()
        }
        return try await body(services, isPrivate)
    }

    /// A folder; or a bucket, of which what was used stands in HOME/artifacts.
    func artifactStore() throws -> ArtifactStore {
        guard let given = artifacts ?? Self.environment("LARDER_ARTIFACTS") else {
            return ArtifactStore(try homeFolder() + "/artifacts")
        }
        guard given.hasPrefix("s3://") else {
            return ArtifactStore(URL(filePath: given).absoluteURL.standardized.path)
        }
        let bucket = try S3Artifacts(given, environment: ProcessInfo.processInfo.environment)
        return ArtifactStore(try homeFolder() + "/artifacts", bucket: bucket)
    }
}

/// Tells the user something beside the result, on standard error.
func note(_ text: String) {
    FileHandle.standardError.write(Data((text + "\n").utf8))
}
