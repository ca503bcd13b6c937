// SPDX-License-Identifier: Apache-2.0
private import Glibc
import Tables

/// Writes the files of a dataset.
struct DatasetWriter {
    let settings: DatasetSettings
    let folder: String
    let features: FeatureBuilder.Result

    func write(
        _ events: GroupedEvents,
        _ parts: Spool<UInt8>,
        _ index: EventIndex
    ) throws(PredictorError) {
        let columns = events.columns
        var tensors: [StreamedTensor] = [
            StreamedTensor("items", count: events.count) { index.newItem[Int(columns.items[$0])] },
            StreamedTensor("times", count: events.count) { columns.times[$0] / Timestamp.second },
            StreamedTensor("parts", count: events.count) { parts[$0] },
            offsets("sequence_offsets", events.sequenceLengths),
            offsets("user_sequences", events.userSequences) { index.newUser[$0] >= 0 },
        ]
        if columns.weights.count > 0 { tensors.append(weights(events, parts)) }
        tensors += features.columns(of: .events).flatMap { $0.tensors(rows: events.count) }
        try SafeTensors.write(tensors, to: "\(folder)/\(Dataset.File.events)")
    }

    func write(users: StringTable) throws(PredictorError) {
        let tensors =
            users.tensors("id")
            + features.columns(of: .users).flatMap { $0.tensors(rows: users.count) }
        try SafeTensors.write(tensors, to: "\(folder)/\(Dataset.File.users)")
    }

    func write(items: StringTable, titles: StringTable?) throws(PredictorError) {
        let tensors =
            items.tensors("id") + (titles?.tensors("title") ?? [])
            + features.columns(of: .items).flatMap { $0.tensors(rows: items.count) }
        try SafeTensors.write(tensors, to: "\(folder)/\(Dataset.File.items)")
    }

    /// Writes what the columns are, and what the codes of categories stand for.
    func writeSchema(users: Int, items: Int) throws(PredictorError) {
        let schema = Schema(
            [
                .init("user", of: .users, .id, cardinality: users),
                .init("item", of: .items, .id, cardinality: items),
            ] + features.columns.map(\.column)
        )
        try schema.write(to: "\(folder)/\(Dataset.File.schema)")
        guard !features.dictionaries.isEmpty else { return }
        try SafeTensors.write(
            features.dictionaries.flatMap { name, values in values.tensors(name) },
            to: "\(folder)/\(Dataset.File.categories)"
        )
    }

    /// Sums of lengths, of those that are kept.
    private func offsets(
        _ name: String,
        _ lengths: Spool<Int32>,
        _ isKept: @escaping (Int) -> Bool = { _ in true }
    ) -> StreamedTensor {
        let kept = (0..<lengths.count).count(where: isKept)
        return StreamedTensor(name, Int64.self, count: kept + 1) { sink throws(PredictorError) in
            var total: Int64 = 0
            try sink.append(total)
            for place in 0..<lengths.count {
                total += Int64(lengths[place])
                if isKept(place) { try sink.append(total) }
            }
        }
    }

    /// The worth of each event's type, halved with every half-life before the newest event that a
    /// model may learn from.
    private func weights(_ events: GroupedEvents, _ parts: Spool<UInt8>) -> StreamedTensor {
        let weights = events.columns.weights
        guard let halfLife = settings.weights?.halfLife else {
            return StreamedTensor("weights", count: events.count) { weights[$0] }
        }
        var newest = Int64.min
        for event in 0..<events.count where parts[event] == Part.train.rawValue {
            newest = max(newest, events.times[event])
        }
        return StreamedTensor("weights", count: events.count) { [newest] event in
            let age = Double(newest - events.times[event]) / Double(Timestamp.second)
            return weights[event] * Float(exp2(-age / Double(halfLife)))
        }
    }
}
