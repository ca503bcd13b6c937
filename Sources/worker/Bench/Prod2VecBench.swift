// SPDX-License-Identifier: Apache-2.0
import ArgumentParser
import Foundation
import Predictor
import Tables

struct Prod2VecBenchCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "prod2vec",
        abstract: "Tokens a second of a pipeline's training, and what it learnt."
    )

    @Argument(help: "The pipeline file; what follows its model is not run.")
    var pipeline: String

    @Option(help: "Where the dataset is, or is written to be there the next time.")
    var dataset: String

    @Option(help: "Where the model is written: model.safetensors.")
    var output: String?

    @Flag(help: "Machine-readable.")
    var json = false

    func run() throws {
        let pipeline = try PipelineParser.parse(file: pipeline)
        guard case .prod2vec(let settings) = pipeline.model else {
            throw ValidationError("the pipeline's model is not prod2vec")
        }
        let data = try BenchDataset.open(dataset, pipeline)
        let before = ProcessMemory.forgetPeak()
        let start = ContinuousClock.now
        // Counting, and the tables' first values, are a part of training.
        let model = try Prod2Vec.train(data, on: [.train], settings)
        let seconds = (ContinuousClock.now - start) / .seconds(1)
        let tokens = data.itemCounts(in: [.train]).reduce(0, +)
        try Measurement(
            what: "training",
            value: Double(tokens * settings.epochs) / seconds,
            unit: "tokens/s",
            note: "\(model.items.count) items, \(settings.threads) threads"
        ).show(json: json)
        try Measurement(
            what: "memory above the data",
            value: ProcessMemory.peakMiB - before,
            unit: "MiB"
        ).show(json: json)
        if let output {
            try FileManager.default.createDirectory(
                atPath: output,
                withIntermediateDirectories: true
            )
            try model.write(to: output)
        }
    }
}
