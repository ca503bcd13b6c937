// SPDX-License-Identifier: Apache-2.0
package import Tables

/// A table with a row for each user or item.
package struct EntityTable: Sendable, Codable, Equatable {
    package var table: TableSource
    /// The column that says whose row it is.
    package var id: String
    package var title: String?

    package init(table: TableSource, id: String, title: String? = nil) {
        self.table = table
        self.id = id
        self.title = title
    }
}

/// What the table of users or items says of those that a dataset has.
struct EntityRows {
    let features: FeatureRows
    /// One for each, empty where the table has none; nil when no titles are wanted.
    let titles: StringTable?

    /// Those of which nothing but their events is known.
    init(withoutTable weights: [Int]) {
        features = FeatureRows(count: weights.count) { weights[$0] }
        titles = nil
    }

    /// Reads the rows; of an id that stands there twice the last one counts.
    init(
        _ settings: EntityTable,
        _ inputs: [InputColumn],
        for ids: Vocabulary,
        weights: [Int],
        badRows: Double,
        _ tables: TableContext,
        _ space: SpoolSpace,
        threads: Int,
        check: @escaping Table.Check,
        _ report: inout ReadReport
    ) throws {
        let inputs =
            (settings.title.map { [InputColumn(name: $0, isNumber: false)] } ?? []) + inputs
        let sink = try EntitySink(inputs, count: ids.count, space)
        let vocabularies = try tables.table(settings.table).read(
            [ColumnRequest(settings.id, .id(vocabulary: 0))] + inputs.requests(firstVocabulary: 1),
            threads: threads,
            vocabularies: [ids],
            check: check,
            into: sink
        )
        try sink.report.refuse(settings.table.name, moreBadThan: badRows)
        report.tables.append(sink.remark(settings.table.name))
        var features = FeatureRows(count: ids.count) { weights[$0] }
        var texts = 0
        for (place, input) in inputs.enumerated() {
            switch sink.columns[place] {
            case .numbers(let numbers): features.numbers[input.name] = numbers
            case .codes(let codes):
                texts += 1
                features.texts[input.name] = .init(codes: codes, values: vocabularies[texts].ids)
            }
        }
        self.features = features
        titles = settings.title.flatMap { features.texts[$0] }.map { texts in
            var titles = StringTable()
            for row in 0..<ids.count {
                let code = Int(texts.codes[row])
                titles.append(code < 0 ? [] : texts.values.bytes[texts.values.range(code)])
            }
            return titles
        }
    }
}

private final class EntitySink: BatchSink, @unchecked Sendable {
    enum Column {
        case codes(Spool<Int32>)
        case numbers(Spool<Float>)
    }

    let columns: [Column]
    private(set) var report = ReadReport()
    private let count: Int
    private var isKnown: [Bool]
    private var strangers = 0

    init(_ inputs: [InputColumn], count: Int, _ space: SpoolSpace) throws(PredictorError) {
        var columns: [Column] = []
        for input in inputs {
            if input.isNumber {
                columns.append(.numbers(try Spool(repeating: .nan, count: count, space)))
            } else {
                columns.append(.codes(try Spool(repeating: -1, count: count, space)))
            }
        }
        self.columns = columns
        self.count = count
        isKnown = [Bool](repeating: false, count: count)
    }

    func take(_ batch: borrowing Batch, _ vocabularies: borrowing [Vocabulary]) {
        report.count(batch, in: "")
        for row in 0..<batch.count {
            let id = Int(batch.columns[0].codes[row])
            guard id < count else {
                strangers += 1
                continue
            }
            isKnown[id] = true
            for (place, column) in columns.enumerated() {
                switch column {
                case .codes(let codes): codes[id] = batch.columns[place + 1].codes[row]
                case .numbers(let numbers): numbers[id] = batch.columns[place + 1].numbers[row]
                }
            }
        }
    }

    func remark(_ name: String) -> ReadReport.Table {
        ReadReport.Table(
            name: name,
            rows: report.rows,
            badRows: report.badRows,
            withoutEvents: strangers,
            missing: isKnown.count { !$0 }
        )
    }
}
