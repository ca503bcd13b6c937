// SPDX-License-Identifier: Apache-2.0
import Tables

/// How large a dataset will be, told from one that was made of the source's first rows.
package struct DatasetEstimate: Sendable, Encodable {
    /// Of the source.
    package let rows: Int
    /// Whether the sample was everything there is.
    package let isExact: Bool
    package let events: Int
    package let users: Int
    package let items: Int
    package let sequences: Int
    /// Bytes of memory and disk that preparing takes at most, and of the dataset.
    package let memory: Int
    package let temporaryDisk: Int
    package let dataset: Int

    /// Tells the whole from a sample.
    ///
    /// `rows` is how many the source has; nil if nobody knows, and then it is taken for as large as
    /// the sample. `bytes` is how large the sample's files are.
    package init(
        _ sample: DatasetBuilder.Summary,
        _ dataset: Dataset,
        rows: Int?,
        bytes: Int,
        sequencesAreUsers: Bool
    ) {
        let buffer = DatasetBuilder.buffer
        let read = max(1, sample.read.rows)
        self.rows = max(rows ?? read, read)
        isExact = rows == read
        let factor = Double(self.rows) / Double(read)
        func scaled(_ count: Int) -> Int { Int((Double(count) * factor).rounded()) }
        // Somebody's events of one session say once that there is such a person.
        let visits = (0..<dataset.users.count).map { user in
            sequencesAreUsers
                ? dataset.events(ofUser: user).count
                : Int(dataset.userSequences[user + 1] - dataset.userSequences[user])
        }
        events = scaled(sample.events)
        users = Self.distinct(visits, in: factor)
        items = Self.distinct(dataset.itemCounts(in: .all), in: factor)
        // Sessions end soon after they begin: another stretch of the source has others.
        sequences = sequencesAreUsers ? users : scaled(sample.sequences)
        let vocabularies =
            Self.vocabularyBytes(users, like: dataset.users)
            + Self.vocabularyBytes(items, like: dataset.items)
        // As they are read and as they are grouped, and while they are put in order.
        let columns = events * 2 * Self.bytesPerEvent(dataset)
        memory = vocabularies + min(columns, buffer) + min(events * 48, buffer / 2)
        temporaryDisk = max(0, columns - buffer)
        self.dataset = scaled(bytes)
    }

    /// docs/data.md: the ids and 56 bytes each, as much again for a million ids a thread at most, and
    /// 20 bytes.
    private static func vocabularyBytes(_ count: Int, like sample: Vocabulary) -> Int {
        let each = sample.ids.bytes.count / max(1, sample.count) + 56
        let ofThreads = min(count, Table.processorCount << 20)
        return (count + ofThreads) * each + count * 20
    }

    private static func bytesPerEvent(_ dataset: Dataset) -> Int {
        let features = dataset.schema.columns(of: .events).count
        return 4 + 4 + 8 + 1 + (dataset.eventWeights == nil ? 0 : 4) + 4 * features
    }

    /// The guaranteed-error estimator of Charikar, Chaudhuri, Motwani and Narasayya (2000): those
    /// that a sample has once stand for as many as the square root of how much larger the whole is.
    private static func distinct(_ counts: [Int], in factor: Double) -> Int {
        let once = counts.count { $0 == 1 }
        let more = counts.count { $0 > 1 }
        return Int((factor.squareRoot() * Double(once)).rounded()) + more
    }
}
