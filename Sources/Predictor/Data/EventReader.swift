// SPDX-License-Identifier: Apache-2.0
import Tables

/// Takes rows of the source, drops those that are not wanted, and collects the rest in columns.
///
/// Called by one thread at a time, as `BatchSink` promises.
final class EventReader: BatchSink, @unchecked Sendable {
    private enum Vocabularies {
        static let users = 0
        static let items = 1
        static let sessions = 2
        static let conditions = 3
        static let types = 4
        static let parts = 5
        static let features = 6
    }

    private let settings: DatasetSettings
    private let progress: @Sendable (Int?) throws -> Void
    let events: EventColumns
    private(set) var report = ReadReport()
    private(set) var users = Vocabulary()
    private(set) var items = Vocabulary()
    /// The values of each column of texts that features are made of.
    private(set) var texts: [StringTable] = []

    // Where each column stands among those requested.
    private let user: Int
    private let item: Int
    private var time: Int?
    private var session: Int?
    private var condition: Int?
    private var type: Int?
    private var part: Int?
    /// Columns that features are made of, from here on.
    private var features = 0
    private let inputs: [InputColumn]
    private var requests: [ColumnRequest] = []

    private var numberTest: (@Sendable (Float) -> Bool)?
    private var isWanted: [Bool] = []
    private var weightOfType: [Float?] = []
    private var partOfValue: [Part] = []
    private var isSampled: [Bool] = []
    private var dropped = (condition: 0, window: 0, type: 0, sample: 0)
    private var nextProgress = 0

    init(
        _ settings: DatasetSettings,
        _ space: SpoolSpace,
        progress: @escaping @Sendable (Int?) throws -> Void
    ) {
        self.settings = settings
        self.progress = progress
        inputs = settings.features.inputs(of: .events)
        events = EventColumns(space, inputs: inputs)
        requests = [
            ColumnRequest(settings.columns.user, .id(vocabulary: Vocabularies.users)),
            ColumnRequest(settings.columns.item, .id(vocabulary: Vocabularies.items)),
        ]
        (user, item) = (0, 1)
        time = request(settings.columns.time, .time)
        if case .column(let name) = settings.sessions.by {
            session = request(name, .id(vocabulary: Vocabularies.sessions))
        }
        if let positive = settings.keep.positive {
            if positive.isNumeric { numberTest = positive.numberTest() }
            condition = request(
                positive.column,
                positive.isNumeric ? .number : .category(vocabulary: Vocabularies.conditions)
            )
        }
        type = request(settings.weights?.column, .category(vocabulary: Vocabularies.types))
        if case .column(let name, _, _) = settings.split {
            part = request(name, .category(vocabulary: Vocabularies.parts))
        }
        features = requests.count
        requests += inputs.requests(firstVocabulary: Vocabularies.features)
    }

    private func request(_ name: String?, _ kind: ColumnRequest.Kind) -> Int? {
        guard let name else { return nil }
        requests.append(ColumnRequest(name, kind))
        return requests.count - 1
    }

    /// Reads the source to its end; ids that are known already keep their indices.
    func read(
        users: Vocabulary,
        items: Vocabulary,
        from tables: TableContext,
        threads: Int,
        mostRows: Int = .max,
        progress position: TableProgress = TableProgress()
    ) throws {
        let vocabularies = try tables.table(settings.source).read(
            requests,
            threads: threads,
            vocabularies: [users, items],
            mostRows: mostRows,
            progress: position,
            check: { [progress] in try progress(nil) },
            into: self
        )
        self.users = vocabularies[Vocabularies.users]
        self.items = vocabularies[Vocabularies.items]
        texts = vocabularies.dropFirst(Vocabularies.features).map(\.ids)
        try report.refuse(settings.source.name, moreBadThan: settings.badRows)
        report.note("unusable rows", dropped: report.badRows)
        let keep = settings.keep
        if let positive = keep.positive {
            report.note("positive: \(positive)", dropped: dropped.condition)
        }
        if keep.from != nil || keep.to != nil {
            report.note("from, to", dropped: dropped.window)
        }
        if settings.weights != nil { report.note("types without a weight", dropped: dropped.type) }
        if keep.sample < 1 { report.note("sample", dropped: dropped.sample) }
        guard events.count > 0 else {
            throw PredictorError.input(
                "\(settings.source.name): no event is left\n  \(report.lines.joined(separator: "\n  "))",
                hint: "see `dataset: keep:` in the pipeline"
            )
        }
    }

    // MARK: rows

    func take(_ batch: borrowing Batch, _ vocabularies: borrowing [Vocabulary]) throws {
        report.count(batch, in: settings.source.name)
        learn(vocabularies)
        let kept = wanted(batch)
        try events.users.append(batch.columns[user].codes, at: kept)
        try events.items.append(batch.columns[item].codes, at: kept)
        if let time { try events.times.append(batch.columns[time].times, at: kept) }
        if let session { try events.sessions.append(batch.columns[session].codes, at: kept) }
        if let type {
            let weights = batch.columns[type].codes.map { $0 < 0 ? 0 : weightOfType[Int($0)] ?? 0 }
            try events.weights.append(weights, at: kept)
        }
        if let part {
            let parts = batch.columns[part].codes.map { code in
                (code < 0 ? Part.train : partOfValue[Int(code)]).rawValue
            }
            try events.parts.append(parts, at: kept)
        }
        var texts = 0
        for (place, input) in inputs.enumerated() {
            let column = batch.columns[features + place]
            if input.isNumber {
                try events.numbers[place - texts].append(column.numbers, at: kept)
            } else {
                try events.codes[texts].append(column.codes, at: kept)
                texts += 1
            }
        }
        if report.rows >= nextProgress {
            nextProgress = report.rows + 100_000
            try progress(report.rows)
        }
    }

    /// The rows that are kept; nil for all.
    private func wanted(_ batch: borrowing Batch) -> [Int32]? {
        var rows: [Int32]?
        func filter(_ dropped: inout Int, _ isWanted: (Int) -> Bool) {
            let before = rows ?? (0..<Int32(batch.count)).map { $0 }
            let after = before.filter { isWanted(Int($0)) }
            dropped += before.count - after.count
            rows = after
        }
        if let condition {
            let column = batch.columns[condition]
            if let numberTest {
                filter(&dropped.condition) { numberTest(column.numbers[$0]) }
            } else {
                filter(&dropped.condition) { row in
                    column.codes[row] >= 0 && isWanted[Int(column.codes[row])]
                }
            }
        }
        if let time, settings.keep.from != nil || settings.keep.to != nil {
            let times = batch.columns[time].times
            let from = Int64(settings.keep.from ?? 0) * Timestamp.second
            let to = settings.keep.to.map { Int64($0) * Timestamp.second } ?? .max
            filter(&dropped.window) { times[$0] >= from && times[$0] < to }
        }
        if let type {
            let codes = batch.columns[type].codes
            filter(&dropped.type) { codes[$0] >= 0 && weightOfType[Int(codes[$0])] != nil }
        }
        if !isSampled.isEmpty {
            let users = batch.columns[user].codes
            filter(&dropped.sample) { isSampled[Int(users[$0])] }
        }
        return rows
    }

    /// What follows from a value is worked out once for each value, not for each row.
    private func learn(_ vocabularies: borrowing [Vocabulary]) {
        if let positive = settings.keep.positive, !positive.isNumeric {
            let values = vocabularies[Vocabularies.conditions]
            for code in isWanted.count..<values.count {
                isWanted.append(positive.holds(for: values[code]))
            }
        }
        if let weights = settings.weights {
            let values = vocabularies[Vocabularies.types]
            for code in weightOfType.count..<values.count {
                weightOfType.append(weights.values[values[code]])
            }
        }
        if case .column(_, let validation, let test) = settings.split {
            let values = vocabularies[Vocabularies.parts]
            for code in partOfValue.count..<values.count {
                let value = values[code]
                partOfValue.append(
                    value == test ? .test : value == validation ? .validation : .train
                )
            }
        }
        if settings.keep.sample < 1 {
            let ids = vocabularies[Vocabularies.users].ids
            for code in isSampled.count..<ids.count {
                let hash = StableHash(seed: settings.keep.seed, ids.bytes[ids.range(code)])
                isSampled.append(hash.share < settings.keep.sample)
            }
        }
    }
}
