// SPDX-License-Identifier: Apache-2.0
import Foundation
import Postgres
import TestSupport
import Testing

@testable import Jobs

/// A feed of events whose right answer is known, and the runs that make it.
struct CheckerboardFeed {
    let folder: TemporaryFolder

    init() throws { folder = try TemporaryFolder() }

    func pipeline(
        feed: String,
        model: String,
        check: String = "[]",
        k: Int = 5,
        users: Int = 200
    ) throws -> String {
        let path = try folder.write(Checkerboard.csv(users: users), to: "events.csv")
        return try folder.write(
            """
            feed: \(feed)
            dataset:
              source: { csv: \(path) }
              columns: { user: user, item: item, time: time }
              split: { by: leave-last-one, validation: true }
            model: \(model)
            check: \(check)
            predict: { for: users, k: \(k) }
            """,
            to: "pipeline.yaml"
        )
    }

    func with(_ body: (Larder, Runs) async throws -> Void) async throws {
        try await TestServers.withDatabase { database in
            let larder = try Larder(database, home: folder.path + "/home")
            try await body(larder, Runs(Client(database)))
        }
    }

    struct Trained: Decodable {
        struct Arm: Decodable { let number: Int }
        struct Sweep: Decodable {
            struct Row: Decodable {
                struct Cost: Decodable {
                    let seconds: Double
                    let cpuSeconds: Double
                    let peakMiB: Double
                }
                let fate: String
                let cost: Cost?
            }
            let arms: [Row]
            let chosen: Int
        }
        let model: String
        let arm: Arm?
        let sweep: Sweep?
        let sameAsRun: Int?
    }

    func result(_ job: String, _ run: Int, _ runs: Runs) async throws -> Trained {
        let text = try #require(try await runs.results(of: run)[job], "\(job)")
        return try JSONDecoder().decode(Trained.self, from: Data(text.utf8))
    }

    /// Of which the second learns what there is.
    static let two =
        "{ kind: prod2vec, vector-size: 8, min-count: 1, sample: 0, sweep: { epochs: [1, 300] } }"

    /// The second alone.
    static let good = two.replacing("sweep: { epochs: [1, 300] }", with: "epochs: 300")
}
