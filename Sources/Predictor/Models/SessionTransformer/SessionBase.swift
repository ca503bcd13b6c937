// SPDX-License-Identifier: Apache-2.0
private import FoundationEssentials
private import Tables

/// A session model that was trained over windows, as one that a later training goes on from.
///
/// Items and categories are matched by what they are called: the later dataset may have others, and
/// in another order.
package struct SessionBase {
    /// How far its training came.
    package struct Progress: Sendable, Codable, Equatable {
        /// Of the optimiser.
        var steps: Int
        /// The latest begin of a session that was learned from; seconds since 1970.
        package var until: Int64
        /// The newest event of any.
        package var newest: Int64
    }

    /// What a model reads of a column: for another, weights would stand for something else.
    private struct Reading: Codable, Equatable {
        let name: String
        let entity: Feature.Entity
        let type: Schema.Column.DataType
        let isList: Bool
        let hashBuckets: Int?
        let boundaries: [Float]?

        static func all(_ schema: Schema) -> [Reading] {
            schema.columns.filter { $0.entity != .users && $0.type != .id }.map {
                Reading(
                    name: $0.name,
                    entity: $0.entity,
                    type: $0.type,
                    isList: $0.isList,
                    hashBuckets: $0.hashBuckets,
                    boundaries: $0.boundaries
                )
            }
        }
    }

    package let progress: Progress
    private let readings: [Reading]
    private let file: TensorFile

    /// Nil of a model that was not trained over windows.
    package init?(from folder: String) throws(PredictorError) {
        let file = try TensorFile("\(folder)/\(SessionModel.file)")
        guard file.has(Self.progressName) else { return nil }
        do {
            progress = try JSONDecoder().decode(
                Progress.self,
                from: Data(file.uint8(Self.progressName))
            )
            readings = try JSONDecoder().decode(
                [Reading].self,
                from: Data(file.uint8(Self.readingsName))
            )
        } catch { throw .file(folder, "does not say how far its training came: \(error)") }
        self.file = file
    }

    /// Whether the features of a dataset are those that it learned.
    package func reads(_ schema: Schema) -> Bool { readings == Reading.all(schema) }

    /// Whether it learned from something that this dataset keeps back from these parts.
    package func hasSeen(beyond parts: Set<Part>, of dataset: Dataset) -> Bool {
        let kept = Set<Part>.all.subtracting(parts)
        return dataset.events(in: kept).contains { dataset.eventTimes[Int($0)] <= progress.newest }
    }

    // MARK: weights

    /// Gives the parameters the values, and what the optimiser keeps beside them, of what is called
    /// the same; returns the events of each item that were learned from.
    func begin(
        _ parameters: [(name: String, parameter: Parameter)],
        _ columns: SessionColumns
    ) throws(PredictorError) -> [Int] {
        let items = Vocabulary(try StringTable(Self.itemsName, in: file))
        let oldItem = (0..<columns.items.count).map { items.index(of: columns.items[$0]) ?? -1 }
        let specials = Int(Code.first(hashBuckets: 0))
        var rows = ["items": Array(0..<specials) + oldItem.map { $0 < 0 ? -1 : $0 + specials }]
        for feature in columns.categories {
            guard let values = feature.dictionary else { continue }
            let old = Vocabulary(
                try StringTable(Self.dictionaryName(feature.column.name), in: file)
            )
            let first = Int(Code.first(hashBuckets: feature.column.hashBuckets ?? 0))
            rows["category.\(feature.column.name)"] =
                Array(0..<first)
                + (0..<values.count).map { old.index(of: values[$0]).map { $0 + first } ?? -1 }
        }
        for (name, parameter) in parameters {
            try copy(name, to: parameter.values, rows[name])
            if parameter.state.columns > 0 {
                try copy("state." + name, to: parameter.state, rows[name])
            }
        }
        let counts = try file.int64(Self.countsName)
        return oldItem.map { $0 < 0 ? 0 : Int(counts[$0]) }
    }

    /// `rows`: the row there of each here, -1 for none; nil: the same.
    private func copy(_ name: String, to buffer: RowBuffer, _ rows: [Int]?) throws(PredictorError) {
        let shape = try file.shape(name)
        let values = try file.float32(name)
        guard shape.count == 2, shape[1] == buffer.columns, rows != nil || shape[0] == buffer.rows
        else {
            throw .input(
                "the weights \(name) are \(shape), those of this model \([buffer.rows, buffer.columns])"
            )
        }
        for row in 0..<buffer.rows {
            let from = rows?[row] ?? row
            guard from >= 0, from < shape[0] else { continue }
            let to = unsafe buffer.row(row)
            for c in 0..<shape[1] { unsafe to[c] = values[from * shape[1] + c] }
        }
    }

    // MARK: files

    private static let progressName = "progress"
    private static let readingsName = "columns"
    private static let itemsName = "item.id"
    private static let countsName = "counts"
    private static func dictionaryName(_ feature: String) -> String { "dictionary.\(feature)" }

    /// What a model's file holds beside weights, for a later training to go on.
    static func tensors(_ progress: Progress, _ counts: [Int], _ columns: SessionColumns)
        -> [String: Tensor]
    {
        let json = stableJSON(progress)
        let readings = stableJSON(Reading.all(columns.schema))
        var tensors: [String: Tensor] = [
            progressName: .uint8(json, shape: [json.count]),
            readingsName: .uint8(readings, shape: [readings.count]),
            countsName: .int64(counts.map { Int64($0) }, shape: [counts.count]),
        ]
        func add(_ name: String, _ strings: StringTable) {
            tensors["\(name)_bytes"] = .uint8(strings.bytes, shape: [strings.bytes.count])
            tensors["\(name)_offsets"] = .int64(strings.offsets, shape: [strings.offsets.count])
        }
        add(itemsName, columns.items.ids)
        for feature in columns.categories {
            if let values = feature.dictionary { add(dictionaryName(feature.column.name), values) }
        }
        return tensors
    }
}
