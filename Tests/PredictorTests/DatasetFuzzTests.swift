// SPDX-License-Identifier: Apache-2.0
import Foundation
import Tables
import TestSupport
import Testing

@testable import Predictor

/// Datasets with damaged files: an error or a dataset, never a crash.
struct DatasetFuzzTests {
    private func useAll(_ dataset: Dataset) throws {
        _ = try DatasetProfile(dataset)
        _ = dataset.windows(of: 86_400)
        let loader = try BatchLoader(
            dataset,
            .sequences((0..<Int32(dataset.sequenceCount)).map { $0 }, last: 5),
            columns: dataset.schema.columns,
            batchSize: 100,
            seed: 1
        )
        try loader.forEachBatch(ofEpoch: 0) { _, _ in }
    }

    @Test func `damaged files are told, and crash nothing`() throws {
        let folder = try TemporaryFolder()
        try Shop.write(to: folder.path, .init(events: 400, users: 20, items: 15, days: 3), seed: 1)
        let whole = try TemporaryFolder()
        _ = try DatasetBuilder.build(
            DatasetSettings(
                source: TableSource(.csv, "\(folder.path)/events.csv"),
                columns: .init(user: "user_id", item: "item_id", time: "timestamp"),
                sessions: .init(by: .column("session_id")),
                items: EntityTable(
                    table: TableSource(.csv, "\(folder.path)/items.csv"),
                    id: "item_id",
                    title: "title"
                ),
                features: [
                    Feature("tags", of: .items, .category(.init(column: "tags", separator: "|"))),
                    Feature("price", of: .events, .number(column: "price", .init())),
                ]
            ),
            into: whole.path
        )
        let names = try whole.contents()
        #expect(names.count == 5)
        try useAll(Dataset(from: whole.path))
        var generator = SeededGenerator(seed: 4)
        var errors = 0
        let damaged = try TemporaryFolder()
        for name in names {
            for other in names { _ = try damaged.write(whole.bytes(of: other), to: other) }
            let bytes = whole.bytes(of: name)
            for round in 0..<Effort.scaled(150, long: 5000) {
                var changed = bytes
                // The header is where most goes wrong.
                let most = Bool.random(using: &generator) ? min(400, bytes.count) : bytes.count
                let place = generator.index(below: most)
                switch round % 4 {
                case 0: changed[place] ^= 1 << UInt8(generator.index(below: 8))
                case 1: changed.removeSubrange(place...)
                case 2: changed[place] = UInt8(generator.index(below: 256))
                default:
                    for at in place..<min(place + 8, bytes.count) { changed[at] = 0xff }
                }
                // A new file each time: a mapped one must not change under its reader.
                try FileManager.default.removeItem(atPath: "\(damaged.path)/\(name)")
                _ = try damaged.write(changed, to: name)
                do {
                    try useAll(Dataset(from: damaged.path))
                } catch let error as PredictorError {
                    #expect(!error.description.isEmpty)
                    errors += 1
                }
            }
        }
        #expect(errors > 200, "the test tests something")
    }
}
