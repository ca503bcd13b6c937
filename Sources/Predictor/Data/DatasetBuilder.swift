// SPDX-License-Identifier: Apache-2.0

/// What `prepare` found in the source: told to the user, kept in the manifest.
package struct ReadReport: Sendable, Codable {
    package var rows = 0
    package var badRows = 0
    /// The first ten bad rows, with their line numbers.
    package var examples: [String] = []

    mutating func bad(_ line: Int, _ reason: String) {
        badRows += 1
        if examples.count < 10 { examples.append("line \(line): \(reason)") }
    }
}

/// Reads events in one pass, counts what cannot be used, and orders the rest.
package struct DatasetBuilder {
    private let settings: DatasetSettings
    private var users = Vocabulary()
    private var items = Vocabulary()
    private var sessions = Vocabulary()
    private var userOf: [Int32] = []
    private var itemOf: [Int32] = []
    private var sessionOf: [Int32] = []
    private var timeOf: [Int64] = []
    package private(set) var report = ReadReport()

    /// `progress` is called every 100,000 rows with the number of rows read; it may throw to stop.
    package static func build(
        _ settings: DatasetSettings,
        progress: (Int) throws -> Void = { _ in }
    ) throws -> (Dataset, ReadReport) {
        var builder = DatasetBuilder(settings: settings)
        try builder.read(progress)
        let dataset = try builder.finish()
        return (dataset, builder.report)
    }

    private init(settings: DatasetSettings) { self.settings = settings }

    // MARK: reading

    private mutating func read(_ progress: (Int) throws -> Void) throws {
        let path = settings.source.path
        var reader = try DelimitedReader(path, format: format(settings.source))
        var record = Record()
        let header = try Header(&reader, &record, path)
        let user = try header.place(of: settings.columns.user)
        let item = try header.place(of: settings.columns.item)
        let time = try settings.columns.time.map { column throws(PredictorError) in
            try header.place(of: column)
        }
        let session = try settings.columns.session.map { column throws(PredictorError) in
            try header.place(of: column)
        }
        while try reader.next(&record) {
            report.rows += 1
            if report.rows % 100_000 == 0 { try progress(report.rows) }
            if record.count != header.names.count {
                report.bad(
                    record.line,
                    "\(record.count) fields where the header has \(header.names.count)"
                )
                continue
            }
            add(record, user: user, item: item, time: time, session: session)
        }
        try refuseIfBad()
    }

    private mutating func add(_ record: Record, user: Int, item: Int, time: Int?, session: Int?) {
        var seconds: Int64 = 0
        if let time {
            switch Timestamp.parse(record.bytes, record.range(time)) {
            case .success(let value): seconds = value
            case .failure(let problem): return report.bad(record.line, problem.reason)
            }
        }
        for (place, name) in [(user, "user"), (item, "item")] where record.range(place).isEmpty {
            return report.bad(record.line, "empty \(name) id")
        }
        if let session, record.range(session).isEmpty {
            return report.bad(record.line, "empty session id")
        }
        guard let userIndex = users.insert(record.bytes, record.range(user)),
            let itemIndex = items.insert(record.bytes, record.range(item)),
            let sessionIndex = session.map({ sessions.insert(record.bytes, record.range($0)) })
                ?? .some(0)
        else { return report.bad(record.line, "an id is not valid UTF-8") }
        userOf.append(Int32(userIndex))
        itemOf.append(Int32(itemIndex))
        timeOf.append(seconds)
        if session != nil { sessionOf.append(Int32(sessionIndex)) }
    }

    private func refuseIfBad() throws(PredictorError) {
        let path = settings.source.path
        guard report.rows > 0 else { throw .input("\(path): has a header and no rows") }
        let share = Double(report.badRows) / Double(report.rows)
        guard share <= settings.badRows && !userOf.isEmpty else {
            throw .input(
                """
                \(path): \(report.badRows) of \(report.rows) rows cannot be used \
                (\(percent(share)); at most \(percent(settings.badRows)) may be bad)
                  \(report.examples.joined(separator: "\n  "))
                """,
                hint: "mend the file, or raise `dataset: bad-rows:` in the pipeline"
            )
        }
    }

    // MARK: ordering

    private mutating func finish() throws -> Dataset {
        var counts = [Int](repeating: 0, count: items.count)
        for item in itemOf { counts[Int(item)] += 1 }
        let (sortedItems, newItem) = items.sorted(byCounts: counts)
        let (sequenceOf, sequenceUser) = numberSequences()
        // Stable sorts from the least to the most important key.
        let byTime = sortedByTime()
        // Sequences are numbered by the time of their first event, so this order is right.
        let bySequence = countingSort(byTime, key: sequenceOf, keys: sequenceUser.count)
        let sequencesByUser = countingSort(
            sequenceUser.indices.map { Int32($0) },
            key: sequenceUser,
            keys: users.count
        )

        var sequenceLength = [Int](repeating: 0, count: sequenceUser.count)
        for sequence in sequenceOf { sequenceLength[Int(sequence)] += 1 }
        var sequenceStart = [Int](repeating: 0, count: sequenceUser.count)
        var total = 0
        for sequence in sequenceLength.indices {
            sequenceStart[sequence] = total
            total += sequenceLength[sequence]
        }

        var eventItems: [Int32] = []
        var eventTimes: [Int64] = []
        eventItems.reserveCapacity(itemOf.count)
        eventTimes.reserveCapacity(itemOf.count)
        var sequenceOffsets: [Int64] = [0]
        var userSequences = [Int64](repeating: 0, count: users.count + 1)
        for sequence in sequencesByUser.map({ Int($0) }) {
            let start = sequenceStart[sequence]
            for event in bySequence[start..<start + sequenceLength[sequence]] {
                eventItems.append(newItem[Int(itemOf[Int(event)])])
                eventTimes.append(timeOf[Int(event)])
            }
            sequenceOffsets.append(Int64(eventItems.count))
            userSequences[Int(sequenceUser[sequence]) + 1] += 1
        }
        for user in 0..<users.count { userSequences[user + 1] += userSequences[user] }
        return Dataset(
            users: users,
            items: sortedItems,
            eventItems: eventItems,
            eventTimes: eventTimes,
            eventParts: settings.split.parts(
                times: eventTimes,
                sequenceOffsets: sequenceOffsets,
                userSequences: userSequences
            ),
            sequenceOffsets: sequenceOffsets,
            userSequences: userSequences,
            titles: try settings.items.map { try readTitles($0, for: sortedItems) }
        )
    }

    /// The sequence of each event and the user of each sequence.
    ///
    /// A session id belongs to its user: "1" of one and "1" of another are two sequences.
    private func numberSequences() -> (of: [Int32], users: [Int32]) {
        guard settings.columns.session != nil else {
            return (userOf, (0..<users.count).map { Int32($0) })
        }
        var known: [UInt64: Int32] = [:]
        var sequenceUser: [Int32] = []
        var sequenceOf = [Int32](repeating: 0, count: userOf.count)
        for event in sortedByTime().map({ Int($0) }) {
            let key = UInt64(userOf[event]) << 32 | UInt64(sessionOf[event])
            if let sequence = known[key] {
                sequenceOf[event] = sequence
            } else {
                let sequence = Int32(sequenceUser.count)
                known[key] = sequence
                sequenceOf[event] = sequence
                sequenceUser.append(userOf[event])
            }
        }
        return (sequenceOf, sequenceUser)
    }

    private func sortedByTime() -> [Int32] {
        let rows = (0..<Int32(timeOf.count)).map { $0 }
        let isSorted = zip(timeOf, timeOf.dropFirst()).allSatisfy { $0 <= $1 }
        return isSorted
            ? rows
            : rows.sorted { (timeOf[Int($0)], $0) < (timeOf[Int($1)], $1) }
    }

    private func readTitles(
        _ table: DatasetSettings.ItemTable,
        for items: Vocabulary
    ) throws -> StringTable {
        var reader = try DelimitedReader(table.table.path, format: format(table.table))
        var record = Record()
        let header = try Header(&reader, &record, table.table.path)
        let item = try header.place(of: table.item)
        let title = try header.place(of: table.title)
        var found = [ArraySlice<UInt8>](repeating: [], count: items.count)
        while try reader.next(&record) {
            guard record.count == header.names.count,
                let index = items.index(of: record.bytes, record.range(item))
            else { continue }
            found[index] = ArraySlice(Array(record.bytes[record.range(title)]))
        }
        var titles = StringTable()
        for title in found { titles.append(title) }
        return titles
    }

    private func format(
        _ table: DatasetSettings.TableFile
    ) throws(PredictorError) -> DelimitedReader.Format {
        guard let format = DelimitedReader.Format(rawValue: table.format) else {
            throw .input(
                "\(table.path): \"\(table.format)\" is not a format larder reads (csv, tsv)"
            )
        }
        return format
    }
}

/// The first record of a delimited file.
private struct Header {
    let names: [String]
    let path: String

    init(
        _ reader: inout DelimitedReader,
        _ record: inout Record,
        _ path: String
    ) throws(PredictorError) {
        guard try reader.next(&record) else { throw .input("\(path): is empty") }
        guard !record.bytes.contains(0) else {
            throw .input("\(path): is not a text file: it has zero bytes")
        }
        names = (0..<record.count).map { record.text($0) }
        self.path = path
    }

    func place(of column: String) throws(PredictorError) -> Int {
        if let place = names.firstIndex(of: column) { return place }
        let shown = names.prefix(20).map { $0.count > 40 ? $0.prefix(40) + "…" : $0 }
        let near = EditDistance.nearest(to: column, in: names)
        throw .input(
            "\(path) has no column \"\(column)\"; it has \(shown.joined(separator: ", "))",
            hint: near.map { "did you mean \"\($0)\"?" }
        )
    }
}

/// A stable sort by a small integer key.
private func countingSort(_ values: [Int32], key: [Int32], keys: Int) -> [Int32] {
    var starts = [Int](repeating: 0, count: keys + 1)
    for value in values { starts[Int(key[Int(value)]) + 1] += 1 }
    for place in 0..<keys { starts[place + 1] += starts[place] }
    var sorted = [Int32](repeating: 0, count: values.count)
    for value in values {
        let place = Int(key[Int(value)])
        sorted[starts[place]] = value
        starts[place] += 1
    }
    return sorted
}

private func percent(_ share: Double) -> String {
    "\((share * 10_000).rounded() / 100) %"
}
