// SPDX-License-Identifier: Apache-2.0
import Postgres
import TestSupport

/// A pipeline's files in a folder of their own, and a database for its runs.
struct CommandFeed {
    let folder: TemporaryFolder

    init() throws { folder = try TemporaryFolder() }

    func pipeline(
        feed: String,
        events: String? = nil,
        predict: String = "{ for: users, k: 5, shard: 7 }",
        model: String = "{ kind: prod2vec, vector-size: 8, min-count: 1, epochs: 300, sample: 0 }",
        more: String = "",
        publish: String = "{ expire: 1h, format: json }"
    ) throws -> String {
        let path = try folder.write(events ?? Checkerboard.csv(), to: "events.csv")
        return try folder.write(
            """
            feed: \(feed)
            dataset:
              source: { csv: \(path) }
              columns: { user: user, item: item, time: time }
            \(more)
            model: \(model)
            predict: \(predict)
            publish: \(publish)
            """,
            to: "pipeline.yaml"
        )
    }

    /// `redis`: one of the test's own, in place of the one that all tests share.
    func with(
        redis: String? = nil,
        _ body: (Larder) async throws -> Void
    ) async throws {
        try await TestServers.withDatabase { database in
            try await body(
                Larder(
                    database: database.target,
                    redis: redis ?? TestServers.redisURL,
                    home: folder.path + "/home"
                )
            )
        }
    }

    func jobs(_ client: Client, _ condition: String) async throws -> Int {
        try await client.query("SELECT count(*) AS n FROM larder.jobs WHERE " + condition) {
            row throws(PostgresError) in try row.decode("n", Int.self)
        }[0]
    }
}
