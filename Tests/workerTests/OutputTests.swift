// SPDX-License-Identifier: Apache-2.0
import Foundation
import Predictor
import TestSupport
import Testing

@testable import worker

struct OutputTests {
    @Test func `numbers are written for people`() {
        #expect(Output.count(0) == "0")
        #expect(Output.count(999) == "999")
        #expect(Output.count(1_234_567) == "1,234,567")
        #expect(Output.count(-1000) == "-1,000")
        #expect(Output.bytes(512) == "512 B")
        #expect(Output.bytes(1_572_864) == "1.5 MiB")
        #expect(Output.seconds(3.14) == "3.1 s")
        #expect(Output.seconds(3_725) == "1:02:05")
    }

    @Test(arguments: ["shop", "t4rec"])
    func `made data can be prepared with the pipeline beside it`(_ kind: String) throws {
        let folder = try TemporaryFolder()
        if kind == "shop" {
            let size = Shop.Size(events: 5000, users: 200, items: 150, days: 30)
            try Shop.write(to: folder.path, size, seed: 1)
        } else {
            try SessionData.write(to: folder.path, rows: 5000, seed: 1)
        }
        let pipeline = try PipelineParser.parse(file: "\(folder.path)/pipeline.yaml")
        let place = try TemporaryFolder()
        let summary = try DatasetBuilder.build(pipeline.dataset, into: place.path)
        #expect(summary.read.rows == 5000 && summary.read.badRows == 0)
        let schema = try Dataset(from: place.path).schema
        #expect(schema.columns.count >= 2 + pipeline.dataset.features.count)
    }
}
