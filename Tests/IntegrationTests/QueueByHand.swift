// SPDX-License-Identifier: Apache-2.0
import Foundation
import Postgres

@testable import Jobs

/// What a worker does, one step at a time.
extension Queue {
    /// A heartbeat of a worker that has no claim on its way; without what the clock says.
    func beat(
        _ session: Session,
        leases: [Int] = [],
        ttl: Duration = .seconds(45)
    ) async throws -> [Verdict] {
        // The year 2100: everything that is not named was lost.
        try await heartbeat(session, leases: leases, ttl: ttl, knownBefore: 4_102_444_800_000_000)
            .filter { verdict in
                if case .clock = verdict { return false }
                return true
            }
    }

    /// For longer than a test takes: nobody sends heartbeats.
    func openSession(ttl: Duration = .seconds(3600)) async throws -> Session {
        let session = Session(id: UUID().uuidString.lowercased(), host: "t", pid: 1, slots: 1)
        try await open(session, ttl: ttl)
        return session
    }

    /// Hands in one outcome and does what comes after it; nil when it was refused.
    func finish(_ job: Job, _ ending: Ending, by session: Session) async throws -> String? {
        guard let outcome = try await finish([(job, ending)], by: session)[job.id] else {
            return nil
        }
        let failed = outcome == "failed" || outcome == "cancelled"
        try await settle(groups: job.groupID.map { [$0] } ?? [], hasFailures: failed)
        return outcome
    }

    /// Makes the database believe that a session's time is over.
    func expire(_ session: Session) async throws {
        try await client.execute(
            "UPDATE larder.sessions SET expires_at = clock_timestamp() - interval '1 s' WHERE id = $1::uuid",
            [Parameter(session.id)]
        )
    }

    /// The one number that a statement gives as `n`.
    func number(_ sql: String, _ parameters: [Parameter] = []) async throws -> Int {
        try await client.query(sql, parameters) { row throws(PostgresError) in
            try row.decode("n", Int.self)
        }[0]
    }

    func state(of id: Int) async throws -> String? {
        try await Runs(client).jobs(ids: [id]).first?.state
    }
}
