// SPDX-License-Identifier: Apache-2.0
package import Foundation
private import Postgres

/// Jobs that are enqueued by the clock.
extension Queue {
    package struct Schedule: Sendable, Encodable {
        package let name: String
        package let cron: String
        package let zone: String
        package let misfire: Misfire
        package let kind: String
        package let args: String
        package let queue: String
        package let isPaused: Bool
        package let nextAt: Date?
        package let lastJob: Int?
        package let error: String?
    }

    /// What to do about due times that passed while no worker was up.
    package enum Misfire: String, Sendable, Codable, CaseIterable {
        /// Nothing.
        case skip
        /// One job for all of them.
        case coalesce
        /// One job for each.
        case catchUp = "catch-up"
    }

    /// Makes or changes a schedule; times that passed before do not count.
    package func setSchedule(
        _ name: String,
        cron: String,
        zone: String = "UTC",
        misfire: Misfire = .coalesce,
        kind: String,
        args: String = "{}",
        queue: String = "default"
    ) async throws(JobsError) {
        do { _ = try Cron(cron, zone: zone) } catch { throw .malformed(error.description) }
        try await during("set schedule \"\(name)\"") { () throws(PostgresError) in
            try await client.execute(
                """
                SELECT larder.set_schedule($1, $2, $3, $4::jsonb, zone => $5, misfire => $6,
                                           queue => $7)
                """,
                [
                    Parameter(name), Parameter(cron), Parameter(kind), Parameter(args),
                    Parameter(zone), Parameter(misfire.rawValue), Parameter(queue),
                ]
            )
        }
    }

    package func schedules() async throws(JobsError) -> [Schedule] {
        try await during("list schedules") { () throws(PostgresError) in
            try await client.query(
                """
                SELECT name, cron, zone, misfire, kind, args, queue, paused_at IS NOT NULL AS paused,
                       extract(epoch FROM next_at)::double precision AS next_at, last_job, error
                FROM larder.schedules ORDER BY name
                """
            ) { row throws(PostgresError) in
                Schedule(
                    name: try row.decode("name"),
                    cron: try row.decode("cron"),
                    zone: try row.decode("zone"),
                    misfire: Misfire(rawValue: try row.decode("misfire")) ?? .coalesce,
                    kind: try row.decode("kind"),
                    args: try row.decode("args"),
                    queue: try row.decode("queue"),
                    isPaused: try row.decode("paused"),
                    nextAt: try row.decodeIfPresent("next_at", Double.self)
                        .map { Date(timeIntervalSince1970: $0) },
                    lastJob: try row.decodeIfPresent("last_job"),
                    error: try row.decodeIfPresent("error")
                )
            }
        }
    }

    package func pauseSchedule(_ name: String) async throws(JobsError) {
        try await changeSchedule(
            name,
            "pause",
            "UPDATE larder.schedules SET paused_at = coalesce(paused_at, clock_timestamp()) WHERE name = $1"
        )
    }

    /// Due times that passed in the pause are misfires.
    package func resumeSchedule(_ name: String) async throws(JobsError) {
        try await changeSchedule(
            name,
            "resume",
            "UPDATE larder.schedules SET paused_at = NULL, error = NULL WHERE name = $1"
        )
    }

    package func removeSchedule(_ name: String) async throws(JobsError) {
        try await changeSchedule(name, "remove", "DELETE FROM larder.schedules WHERE name = $1")
    }

    private func changeSchedule(
        _ name: String,
        _ verb: String,
        _ sql: String
    ) async throws(JobsError) {
        let changed = try await during("\(verb) schedule \"\(name)\"") { () throws(PostgresError) in
            try await client.execute(sql, [Parameter(name)])
        }
        if changed == 0 {
            throw .notFound("there is no schedule \"\(name)\"\nhint: `larder schedules` lists them")
        }
    }

    struct Firing: Sendable {
        let schedule: String
        let job: Int
    }

    private struct Due: Sendable {
        let name: String
        let cron: String
        let zone: String
        let misfire: String
        let due: Double?
        let now: Double
    }

    /// Fires what is due by the database's clock.
    ///
    /// Any number of workers may do this at the same time: a compare-and-set on the due time lets
    /// one of them fire it.
    func fireSchedules() async throws(JobsError) -> [Firing] {
        let due = try await during("look for due schedules") { () throws(PostgresError) in
            try await client.query(SQL.dueSchedules) { row throws(PostgresError) in
                Due(
                    name: try row.decode("name"),
                    cron: try row.decode("cron"),
                    zone: try row.decode("zone"),
                    misfire: try row.decode("misfire"),
                    due: try row.decodeIfPresent("due"),
                    now: try row.decode("now")
                )
            }
        }
        var firings: [Firing] = []
        for item in due {
            do {
                firings += try await fire(item)
            } catch .malformed(let why) {
                try await disable(item.name, why)
            } catch .postgres(let error, _) where !error.isTransient {
                // It cannot be enqueued: it must not stand before the others for ever.
                try await disable(item.name, error.description)
            }
        }
        return firings
    }

    private func fire(_ item: Due) async throws(JobsError) -> [Firing] {
        let cron: Cron
        do { cron = try Cron(item.cron, zone: item.zone) } catch {
            throw .malformed(error.description)
        }
        var firings: [Firing] = []
        for step in Self.steps(cron, item) {
            if let job = try await fire(item.name, step) {
                firings.append(Firing(schedule: item.name, job: job))
            }
        }
        return firings
    }

    struct Step: Equatable {
        /// Where the schedule stands; nil when it has never been computed.
        let from: Date?
        let to: Date
        let fires: Bool
    }

    /// How late a due time may be noticed without being a misfire.
    private static let punctual = 60.0

    private static func steps(_ cron: Cron, _ item: Due) -> [Step] {
        steps(
            cron,
            Misfire(rawValue: item.misfire) ?? .coalesce,
            due: item.due.map { Date(timeIntervalSince1970: $0) },
            now: Date(timeIntervalSince1970: item.now)
        )
    }

    static func steps(_ cron: Cron, _ misfire: Misfire, due: Date?, now: Date) -> [Step] {
        guard let due else {
            guard let next = cron.next(after: now) else { return [] }
            return [Step(from: nil, to: next, fires: false)]
        }
        guard let next = cron.next(after: due), let future = cron.next(after: now) else {
            return []
        }
        if next > now || misfire == .coalesce {
            // The one due time, or one job for all.
            let isLate = now.timeIntervalSince(due) > punctual
            return [Step(from: due, to: future, fires: !(isLate && misfire == .skip))]
        }
        switch misfire {
        case .coalesce: return []
        case .skip:
            let last = cron.last(from: due, to: now)
            let isLate = now.timeIntervalSince(last) > punctual
            if isLate { return [Step(from: due, to: future, fires: false)] }
            return [
                Step(from: due, to: last, fires: false), Step(from: last, to: future, fires: true),
            ]
        case .catchUp:
            // At most 100 a round; the next round goes on.
            var steps: [Step] = []
            var from = due
            while from <= now, steps.count < 100, let to = cron.next(after: from) {
                steps.append(Step(from: from, to: to, fires: true))
                from = to
            }
            return steps
        }
    }

    private func fire(_ name: String, _ step: Step) async throws(JobsError) -> Int? {
        try await during("fire schedule \"\(name)\"") { () throws(PostgresError) in
            try await client.query(
                """
                SELECT larder.fire_schedule($1, to_timestamp($2::double precision),
                                            to_timestamp($3::double precision), $4::bool) AS job
                """,
                [
                    Parameter(name), Parameter(step.from?.timeIntervalSince1970),
                    Parameter(step.to.timeIntervalSince1970), Parameter(step.fires),
                ]
            ) { row throws(PostgresError) in try row.decodeIfPresent("job", Int.self) }
        }[0]
    }

    private func disable(_ name: String, _ error: String) async throws(JobsError) {
        try await during("mark schedule \"\(name)\"") { () throws(PostgresError) in
            try await client.execute(
                "UPDATE larder.schedules SET error = $2 WHERE name = $1",
                [Parameter(name), Parameter(error)]
            )
        }
    }
}
