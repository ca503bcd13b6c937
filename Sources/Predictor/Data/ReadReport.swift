// SPDX-License-Identifier: Apache-2.0
import Tables

/// What `prepare` found in the source and made of it: told to the user, kept in the manifest.
package struct ReadReport: Sendable, Codable, Equatable {
    /// One thing that was done to the events.
    package struct Step: Sendable, Codable, Equatable {
        package var what: String
        package var rowsIn: Int
        package var rowsOut: Int
    }

    /// A table of users or items.
    package struct Table: Sendable, Codable, Equatable {
        package var name: String
        package var rows: Int
        package var badRows: Int
        /// Rows of ids that no event has.
        package var withoutEvents: Int
        /// Users or items that have no row.
        package var missing: Int
    }

    package var rows = 0
    package var badRows = 0
    /// The first ten bad rows, with their line numbers.
    package var examples: [String] = []
    package var steps: [Step] = []
    package var tables: [Table] = []

    /// Notes a step that went on from what the one before left.
    mutating func note(_ what: String, dropped: Int) {
        let before = steps.last?.rowsOut ?? rows
        steps.append(Step(what: what, rowsIn: before, rowsOut: before - dropped))
    }

    /// Counts the rows of a batch of the table with this name.
    mutating func count(_ batch: borrowing Batch, in table: String) {
        rows += batch.count + batch.badRows
        badRows += batch.badRows
        for bad in batch.examples.prefix(10 - examples.count) {
            let file = batch.source == table || table.isEmpty ? "" : "\(batch.source), "
            examples.append("\(file)line \(bad.line): \(bad.reason)")
        }
    }

    /// Throws when a larger share of the rows cannot be used.
    func refuse(_ name: String, moreBadThan most: Double) throws(PredictorError) {
        guard rows > 0 else { throw .input("\(name): has no rows") }
        let share = Double(badRows) / Double(rows)
        guard share <= most && badRows < rows else {
            throw .input(
                """
                \(name): \(badRows) of \(rows) rows cannot be used \
                (\(percent(share)); at most \(percent(most)) may be bad)
                  \(examples.joined(separator: "\n  "))
                """,
                hint: "mend the file, or raise `dataset: bad-rows:` in the pipeline"
            )
        }
    }
}

extension ReadReport {
    /// The steps that dropped something, and what tables lack, for a person.
    package var lines: [String] {
        steps.filter { $0.rowsOut < $0.rowsIn }.map { step in
            "\(step.what): \(step.rowsIn) → \(step.rowsOut) rows"
        }
            + tables.filter { $0.badRows + $0.withoutEvents + $0.missing > 0 }.map { table in
                "\(table.name): \(table.rows) rows, \(table.badRows) unusable, "
                    + "\(table.withoutEvents) without events; \(table.missing) have no row"
            }
    }
}

private func percent(_ share: Double) -> String {
    "\((share * 10_000).rounded() / 100) %"
}
