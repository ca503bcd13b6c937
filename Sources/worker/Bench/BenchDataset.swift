// SPDX-License-Identifier: Apache-2.0
import ArgumentParser
import Foundation
import Predictor

/// A dataset that stays from one measurement to the next.
enum BenchDataset {
    /// Opens what is in the folder, or makes it first.
    ///
    /// Refuses one that was made of other settings.
    static func open(_ folder: String, _ pipeline: Pipeline) throws -> Dataset {
        let manager = FileManager.default
        let settings = Data(try JSON.text(pipeline.dataset).utf8)
        if !manager.fileExists(atPath: folder) {
            // Half of one would be taken for a whole one.
            let part = folder + ".part"
            try? manager.removeItem(atPath: part)
            try manager.createDirectory(atPath: part, withIntermediateDirectories: true)
            _ = try DatasetBuilder.build(pipeline.dataset, into: part)
            try settings.write(to: URL(filePath: part + "/settings.json"))
            try manager.moveItem(atPath: part, toPath: folder)
        }
        guard manager.contents(atPath: folder + "/settings.json") == settings else {
            throw ValidationError(
                "\(folder) is of another pipeline's dataset: name another folder, or remove it"
            )
        }
        return try Dataset(from: folder)
    }
}
