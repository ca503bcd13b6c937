// SPDX-License-Identifier: Apache-2.0
private import Postgres

/// What any worker does for all of them, without a leader.
extension Queue {
    enum Chore: String, Sendable {
        case promote
        case close
        case schedules
        case rescue
        case cascade
        /// Tell others of runs.
        case announce
        /// Look for transactions that keep vacuum from its work.
        case watch
        case clean
    }

    /// The upkeep that is due; whoever gets a chore here is the only one to do it this time.
    func takeChores() async throws(JobsError) -> Set<Chore> {
        let names = try await during("look for upkeep") { () throws(PostgresError) in
            try await client.query(SQL.takeChores) { row throws(PostgresError) in
                try row.decode("name", String.self)
            }
        }
        // A newer larder may have added some.
        return Set(names.compactMap { Chore(rawValue: $0) })
    }

    struct Rescued: Sendable {
        let job: Int
        /// It had no attempts left, and has failed.
        let spent: Bool
        let quarantined: Bool
        let reason: String
    }

    /// All of them, 500 a transaction.
    func rescue() async throws(JobsError) -> [Rescued] {
        var all: [Rescued] = []
        while true {
            let some = try await during("rescue jobs of dead workers") {
                () throws(PostgresError) in
                try await client.query("SELECT * FROM larder.rescue()") {
                    row throws(PostgresError) in
                    Rescued(
                        job: try row.decode("id"),
                        spent: try row.decode("spent"),
                        quarantined: try row.decode("quarantined"),
                        reason: try row.decode("reason")
                    )
                }
            }
            all += some
            if some.count < 500 { break }
        }
        if all.contains(where: \.spent) { try await cascade() }
        return all
    }

    func promote() async throws(JobsError) -> Int {
        try await number("promote due jobs", "SELECT larder.promote() AS n")
    }

    func cascade() async throws(JobsError) {
        _ = try await number("cancel jobs that cannot start", "SELECT larder.cascade() AS n")
    }

    func closeGroups() async throws(JobsError) {
        let closed = try await number("close groups", "SELECT larder.close_groups() AS n")
        if closed > 0 { try await cascade() }
    }

    func announce() async throws(JobsError) -> Int {
        try await number("announce runs", "SELECT larder.announce() AS n")
    }

    /// Makes and drops days of the archive and removes what is past its retention.
    ///
    /// Returns what was made or dropped.
    func clean() async throws(JobsError) -> [String] {
        try await during("clean up") { () throws(PostgresError) in
            let days = try await client.query(
                "SELECT unnest(larder.partition_archive()) AS what"
            ) { row throws(PostgresError) in try row.decode("what", String.self) }
            // Some at a time; an hour's rest is for the next hour.
            for _ in 0..<200 {
                let gone = try await client.query("SELECT larder.clean() AS n") {
                    row throws(PostgresError) in try row.decode("n", Int.self)
                }
                if gone == [0] { break }
            }
            return days
        }
    }

    struct XminHolder: Sendable {
        let seconds: Double
        let who: String
    }

    /// Who has kept vacuum from removing dead rows for minutes, oldest first.
    func xminHolders() async throws(JobsError) -> [XminHolder] {
        try await during("look for old transactions") { () throws(PostgresError) in
            try await client.query(SQL.xminHolders) { row throws(PostgresError) in
                XminHolder(seconds: try row.decode("seconds"), who: try row.decode("who"))
            }
        }
    }

    private func number(_ action: String, _ sql: String) async throws(JobsError) -> Int {
        try await during(action) { () throws(PostgresError) in
            try await client.query(sql) { row throws(PostgresError) in
                try row.decode("n", Int.self)
            }
        }[0]
    }
}
