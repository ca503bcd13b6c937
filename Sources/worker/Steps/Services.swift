// SPDX-License-Identifier: Apache-2.0
import Artifacts
import CacheWriter
import Foundation
import Jobs
import Postgres
import Predictor

/// The stores that commands and job steps work with.
struct Services: Sendable {
    let database: ConnectionSettings
    let client: Client
    let runs: Runs
    let releases: Releases
    let servingRules: ServingRules
    let queue: Queue
    let migrator: Migrator
    let redis: RedisClient
    let redisAddress: RedisAddress
    var artifacts: ArtifactStore
    /// Where lists are made, if not on processors.
    var gpu: GPU?

    init(database: ConnectionSettings, redis: RedisAddress, artifacts: ArtifactStore) {
        self.database = database
        client = Client(database)
        runs = Runs(client)
        releases = Releases(client)
        servingRules = ServingRules(client)
        queue = Queue(client)
        migrator = Migrator(client)
        self.redis = RedisClient(redis)
        redisAddress = redis
        self.artifacts = artifacts
    }

    /// How a run was set.
    func pipeline(of run: Int) async throws -> Pipeline {
        let json = try await runs.pipeline(of: run)
        do {
            return try JSONDecoder().decode(Pipeline.self, from: Data(json.utf8))
        } catch {
            throw PipelineError(
                description: "run \(run) was started by another version of larder: \(error)"
            )
        }
    }

    func cache(_ feed: String) -> FeedCache { FeedCache(feed, on: redis) }

    var reader: FeedReader { FeedReader(redis) }
}
