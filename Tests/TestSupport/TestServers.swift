// SPDX-License-Identifier: Apache-2.0
package import CacheWriter
import Foundation
import Jobs
package import Postgres

/// The servers that Tests/with-servers.sh started.
///
/// Without them the tests fail, and say so: a skipped test looks green.
package enum TestServers {
    package struct Missing: Error, CustomStringConvertible {
        package let description =
            "no test servers; run `make test`, or Tests/with-servers.sh COMMAND"
        package init() {}
    }

    package static var postgres: String {
        get throws { try variable("TEST_POSTGRES") }
    }

    package static var redisURL: String {
        get throws { try variable("TEST_REDIS") }
    }

    package static var redis: RedisAddress {
        get throws { try RedisAddress(redisURL) }
    }

    private static func variable(_ name: String) throws -> String {
        guard let value = ProcessInfo.processInfo.environment[name] else { throw Missing() }
        return value
    }

    /// Calls `body` with a database of its own, empty, and drops it afterwards.
    package static func withEmptyDatabase(
        _ body: (ConnectionSettings) async throws -> Void
    ) async throws {
        let server = try postgres
        let name = "test_" + UUID().uuidString.replacingOccurrences(of: "-", with: "").lowercased()
        let admin = Client(ConnectionSettings(server + " dbname=postgres"))
        try await admin.execute("CREATE DATABASE \(name)")
        do {
            try await body(ConnectionSettings(server + " dbname=\(name)"))
        } catch {
            try await admin.execute("DROP DATABASE \(name) WITH (FORCE)")
            throw error
        }
        try await admin.execute("DROP DATABASE \(name) WITH (FORCE)")
    }

    /// The same, with larder's schema.
    package static func withDatabase(
        _ body: (ConnectionSettings) async throws -> Void
    ) async throws {
        try await withEmptyDatabase { settings in
            _ = try await Migrator(Client(settings)).migrate()
            try await body(settings)
        }
    }

    /// A feed that no other test uses: Redis is shared.
    package static func uniqueFeed() -> String { "t-" + UUID().uuidString.lowercased() }
}
