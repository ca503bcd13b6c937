// SPDX-License-Identifier: Apache-2.0
import TestSupport
import Testing

@testable import Predictor

struct SafeTensorsTests {
    @Test func `tensors come back as they were, and Python can map them`() throws {
        let folder = try TemporaryFolder()
        let path = folder.path + "/x.safetensors"
        try SafeTensors.write(
            [
                "f": .float32([1.5, -2, .infinity, 0], shape: [2, 2]), "i": .int32([7], shape: [1]),
                "l": .int64([.max, .min], shape: [2]), "empty": .uint8([], shape: [0]),
            ],
            to: path
        )
        let file = try TensorFile(path)
        #expect(try file.float32("f") == [1.5, -2, .infinity, 0])
        #expect(try file.shape("f") == [2, 2])
        #expect(try file.int32("i") == [7])
        #expect(try file.int64("l") == [.max, .min])
        #expect(try file.uint8("empty") == [])
        #expect(throws: PredictorError.self) { _ = try file.int64("f") }
        #expect(throws: PredictorError.self) { _ = try file.int64("absent") }
    }

    @Test func `a file cut short is refused`() throws {
        let folder = try TemporaryFolder()
        let path = try folder.write([9, 0, 0, 0, 0, 0, 0, 0, 123], to: "short")
        #expect(throws: PredictorError.self) { _ = try TensorFile(path) }
    }
}
