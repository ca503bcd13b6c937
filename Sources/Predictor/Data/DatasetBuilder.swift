// SPDX-License-Identifier: Apache-2.0
private import Glibc
package import Tables

/// From a source to a dataset's files: read, clean, group, split, index, write.
///
/// In memory are the vocabularies, 20 bytes for each user and item, and a fixed buffer; what is
/// more than the buffer goes through a temporary file.
package struct DatasetBuilder {
    /// Changes with what `build` makes of the same settings and rows.
    package static let format = 1

    /// Ids that have an index already.
    package struct Base: Sendable {
        package let users: Vocabulary
        package let items: Vocabulary

        package init(users: Vocabulary = Vocabulary(), items: Vocabulary = Vocabulary()) {
            self.users = users
            self.items = items
        }
    }

    package struct Summary: Sendable, Codable, Equatable {
        /// Users and items that have events.
        package let users: Int
        package let items: Int
        /// All that have an index.
        package let knownUsers: Int
        package let knownItems: Int
        package let sequences: Int
        package let events: Int
        package let read: ReadReport
    }

    /// Bytes of event columns that stay in memory.
    package static let buffer = 2 << 30

    /// What it may take of a machine and of a source.
    package struct Limits: Sendable {
        package var threads: Int
        /// Bytes of event columns that stay in memory.
        package var buffer: Int
        /// It ends soon after so many rows: a sample.
        package var rows: Int

        package init(
            threads: Int = Table.processorCount,
            buffer: Int = DatasetBuilder.buffer,
            rows: Int = .max
        ) {
            self.threads = threads
            self.buffer = buffer
            self.rows = rows
        }
    }

    private let settings: DatasetSettings
    private let folder: String
    private let space: SpoolSpace
    private let tables: TableContext
    private let limits: Limits
    private let progress: @Sendable (Int?) throws -> Void

    /// Writes the dataset into an existing folder.
    ///
    /// `position` tells how far the source is read, and `progress` is called every 100,000 rows or so
    /// with the number of rows read, and with nil while the source is silent; what it throws stops
    /// the work.
    package static func build(
        _ settings: DatasetSettings,
        into folder: String,
        base: Base = Base(),
        tables: TableContext = TableContext(),
        limits: Limits = Limits(),
        position: TableProgress = TableProgress(),
        progress: @escaping @Sendable (Int?) throws -> Void = { _ in }
    ) throws -> Summary {
        let builder = DatasetBuilder(
            settings: settings,
            folder: folder,
            space: SpoolSpace(folder: folder, budget: limits.buffer),
            tables: tables,
            limits: limits,
            progress: progress
        )
        return try builder.build(from: base, position)
    }

    private func build(from base: Base, _ position: TableProgress) throws -> Summary {
        let reader = EventReader(settings, space, progress: progress)
        try reader.read(
            users: base.users,
            items: base.items,
            from: tables,
            threads: limits.threads,
            mostRows: limits.rows,
            progress: position
        )
        var report = reader.report
        let events = try clean(reader, &report)
        let parts = try settings.split.parts(events, space)
        guard (0..<parts.count).contains(where: { parts[$0] == Part.train.rawValue }) else {
            throw PredictorError.input(
                "\(settings.source.name): the split leaves nothing to train on",
                hint: "all \(events.count) events are for validation or test; see `dataset: split:`"
            )
        }
        try progress(report.rows)
        let index = try EventIndex(
            events,
            parts,
            users: reader.users,
            items: reader.items,
            base: base,
            keepsUsers: settings.features.contains(where: \.needsUsersOfEvents),
            space
        )
        func rows(
            _ table: EntityTable?,
            _ entity: Feature.Entity,
            _ ids: StringTable,
            _ weights: [Int]
        ) throws -> EntityRows {
            guard let table else { return EntityRows(withoutTable: weights) }
            return try EntityRows(
                table,
                settings.features.inputs(of: entity),
                for: Vocabulary(ids),
                weights: weights,
                badRows: settings.badRows,
                tables,
                space,
                threads: limits.threads,
                check: { [progress] in try progress(nil) },
                &report
            )
        }
        let users = try rows(settings.users, .users, index.users, index.userTrainCounts)
        let items = try rows(settings.items, .items, index.items, index.itemTrainCounts)
        try progress(report.rows)
        let features = try FeatureBuilder(
            users: users.features,
            items: items.features,
            events: eventRows(reader, events, parts),
            times: events.times,
            userOfEvent: { index.userOfEvent[$0] },
            itemOfEvent: { index.newItem[Int(events.items[$0])] }
        ).build(settings.features)
        try progress(nil)
        let writer = DatasetWriter(settings: settings, folder: folder, features: features)
        try writer.write(events, parts, index)
        try progress(nil)
        try writer.write(users: index.users)
        try writer.write(items: index.items, titles: items.titles)
        try writer.writeSchema(users: index.users.count, items: index.items.count)
        return Summary(
            users: index.userCount,
            items: index.itemCount,
            knownUsers: index.users.count,
            knownItems: index.items.count,
            sequences: events.sequenceLengths.count,
            events: events.count,
            read: report
        )
    }

    /// The events as features see them.
    private func eventRows(
        _ reader: EventReader,
        _ events: GroupedEvents,
        _ parts: Spool<UInt8>
    ) -> FeatureRows {
        let train = Part.train.rawValue
        var rows = FeatureRows(count: events.count) { parts[$0] == train ? 1 : 0 }
        let inputs = settings.features.inputs(of: .events)
        let texts = inputs.filter { !$0.isNumber }
        for (place, input) in texts.enumerated() {
            rows.texts[input.name] = .init(
                codes: events.columns.codes[place],
                values: reader.texts[place]
            )
        }
        for (place, input) in inputs.filter(\.isNumber).enumerated() {
            rows.numbers[input.name] = events.columns.numbers[place]
        }
        return rows
    }

    // MARK: cleaning

    private func clean(
        _ reader: EventReader,
        _ report: inout ReadReport
    ) throws -> GroupedEvents {
        let keep = settings.keep
        var earliest = Int64.min
        if let last = keep.last {
            var latest = Int64.min
            for event in 0..<reader.events.times.count {
                latest = max(latest, reader.events.times[event])
            }
            earliest = latest - Int64(last) * Timestamp.second
        }
        let inputs = settings.features.inputs(of: .events)
        // The order of an event and its columns take about 48 bytes.
        let grouper = EventGrouper(
            sessions: settings.sessions.by,
            duplicates: keep.duplicates,
            earliest: earliest,
            mostAtOnce: max(1, limits.buffer / 2 / (48 + 4 * inputs.count)),
            threads: limits.threads,
            inputs: inputs
        )
        var (events, duplicates, old) = try grouper.group(
            reader.events,
            userCount: reader.users.count,
            space
        )
        if keep.last != nil { report.note("last", dropped: old) }
        if keep.duplicates != .all {
            report.note("duplicates: \(keep.duplicates.rawValue) is kept", dropped: duplicates)
        }
        func filter<Chosen: Sequence<Int>>(
            _ what: String,
            _ choose: (_ user: Int, _ events: Range<Int>) -> Chosen
        ) throws {
            let kept = GroupedEvents(space, inputs: inputs)
            try events.filter(into: kept, choose)
            try progress(nil)
            report.note(what, dropped: events.count - kept.count)
            events = kept
        }
        if keep.minUserEvents > 1 || keep.minItemEvents > 1 {
            let core = try KCore(
                events,
                itemCount: reader.items.count,
                minUserEvents: keep.minUserEvents,
                minItemEvents: keep.minItemEvents
            )
            let items = events.items
            try filter(
                """
                min-user-events \(keep.minUserEvents), min-item-events \(keep.minItemEvents), \
                \(core.rounds) rounds
                """
            ) { user, range in
                range.lazy.filter { core.isUserKept[user] && core.isItemKept[Int(items[$0])] }
            }
        }
        let sessions = settings.sessions
        if sessions.minEvents > 1 {
            try filter("sessions: min-events \(sessions.minEvents)") { _, range in
                range.count < sessions.minEvents ? range.prefix(0) : range
            }
        }
        if let last = sessions.last {
            try filter("sessions: last \(last)") { _, range in range.suffix(last) }
        }
        guard events.count > 0 else {
            throw PredictorError.input(
                "\(settings.source.name): no event is left\n  \(report.lines.joined(separator: "\n  "))",
                hint: "lower what `dataset: keep:` and `sessions:` ask for"
            )
        }
        return events
    }
}
