// SPDX-License-Identifier: Apache-2.0

/// Where events come from and how they are divided; part of a pipeline file.
package struct DatasetSettings: Sendable, Codable, Equatable {
    package var source: TableFile
    package var columns: Columns
    package var items: ItemTable?
    /// The share of rows that may be bad before the run fails.
    package var badRows: Double
    package var split: Split

    package init(
        source: TableFile,
        columns: Columns,
        items: ItemTable?,
        badRows: Double,
        split: Split
    ) {
        self.source = source
        self.columns = columns
        self.items = items
        self.badRows = badRows
        self.split = split
    }

    package struct TableFile: Sendable, Codable, Equatable {
        package var path: String
        /// `csv` or `tsv`; either may be gzip.
        package var format: String

        package init(path: String, format: String) {
            self.path = path
            self.format = format
        }
    }

    package struct Columns: Sendable, Codable, Equatable {
        package var user: String
        package var item: String
        /// Without it, rows are in order as they stand in the file.
        package var time: String?
        /// Without it, all events of a user are one sequence.
        package var session: String?

        package init(user: String, item: String, time: String?, session: String?) {
            self.user = user
            self.item = item
            self.time = time
            self.session = session
        }
    }

    package struct ItemTable: Sendable, Codable, Equatable {
        package var table: TableFile
        package var item: String
        package var title: String

        package init(table: TableFile, item: String, title: String) {
            self.table = table
            self.item = item
            self.title = title
        }
    }
}

/// Which events are for training and which are kept back to test on.
package enum Split: Sendable, Codable, Equatable {
    /// The last event of every user who has at least two.
    case leaveLastOne
    /// Events of the last `test` seconds of the data.
    case time(test: Int)
    /// Whole sequences, shuffled with a seed: the protocol of the Metaflow tutorial (70/20/10).
    case sequences(validation: Double, test: Double, seed: Int)
}

/// The part of a split that an event belongs to; the raw value is what dataset files hold.
package enum Part: UInt8, Sendable {
    case train = 0
    case validation = 1
    case test = 2
}
