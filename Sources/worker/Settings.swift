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
            "Redis, as redis://host:6379/0, redis+sentinel://host:26379/name or unix:///path.",
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

    /// What a command needs of larder's schema in Postgres.
    enum Schema {
        /// It is brought up to date first.
        case migrated
        /// It must be up to date.
        case checked
        /// Nothing: Postgres may be away.
        case unasked
    }

    static func environment(_ name: String) -> String? {
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

    static func redisAddress(_ text: String) throws -> RedisAddress {
        do {
            return try RedisAddress(text)
        } catch .isMalformed {
            throw SettingsError(
                """
                the Redis URL cannot be read
                hint: it looks like redis://user:password@host:6379/0, with %40 for an @ in a name or a password,
                or redis+sentinel://host:26379/name
                """
            )
        } catch .wantsTLS {
            throw SettingsError(
                """
                the Redis URL asks for TLS (rediss://), which Larder does not speak
                hint: put a TLS proxy such as stunnel beside it, and give its address with redis://
                """
            )
        }
    }

    /// Calls `body` with the stores; starts private servers first where no URL is given, and
    /// leaves them when `body` returns.
    func withServices<T>(
        schema: Schema = .checked,
        _ body: (Services, _ isPrivate: Bool) async throws -> T
    ) async throws -> T {
        let database = databaseURL ?? Self.databaseOfEnvironment
        let redisText = redisURL ?? Self.environment("LARDER_REDIS_URL")
        let address = try redisText.map { try Self.redisAddress($0) }
        let store = try artifactStore()
        if let database, let address {
            return try await use(database, address, store, schema, false, body)
        }
        let servers = try await PrivateServers.join(home: homeFolder()) { note($0) }
        do {
            // A private database is nobody's to migrate by hand.
            let value = try await use(
                database ?? servers.database,
                address ?? servers.redis,
                store,
                database == nil ? .migrated : schema,
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
        _ schema: Schema,
        _ isPrivate: Bool,
        _ body: (Services, Bool) async throws -> T
    ) async throws -> T {
        let services = Services(
            database: ConnectionSettings(database),
            redis: redis,
            artifacts: artifacts
        )
        switch schema {
        case .migrated:
            for name in try await services.migrator.migrate() { note("migrated to \(name)") }
        case .checked: try await services.migrator.check()
        case .unasked: break
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
