// SPDX-License-Identifier: Apache-2.0
import ArgumentParser
import Artifacts
import Predictor
import Tables

struct LoaderBenchCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "loader",
        abstract: "Training examples a second from a pipeline's dataset, with all its features."
    )

    @Argument(help: "The pipeline file; what follows its dataset is not run.")
    var pipeline: String

    @Option(help: "Examples of a batch.")
    var batch = 1024

    @Option(help: "Seconds to measure.")
    var seconds = 5.0

    @Flag(help: "Machine-readable.")
    var json = false

    func validate() throws {
        guard batch > 0, seconds > 0 else {
            throw ValidationError("--batch and --seconds are above 0")
        }
    }

    func run() throws {
        let place = try ScratchFolder()
        _ = try DatasetBuilder.build(
            PipelineParser.parse(file: pipeline).dataset,
            into: place.path
        )
        let dataset = try Dataset(from: place.path)
        let train = dataset.eventParts.indices.filter {
            dataset.eventParts[$0] == Part.train.rawValue
        }
        let loader = try BatchLoader(
            dataset,
            .events(train.map { Int32($0) }),
            columns: dataset.schema.columns,
            batchSize: batch,
            seed: 1
        )
        var examples = 0
        var epoch = 0
        var sum = 0
        let start = ContinuousClock.now
        while ContinuousClock.now - start < .seconds(seconds) {
            try loader.forEachBatch(ofEpoch: epoch) { batch, _ in
                examples += batch.count
                // Something is looked at, as a model would.
                sum &+= Int(batch.items[0])
            }
            epoch += 1
        }
        let took = (ContinuousClock.now - start) / .seconds(1)
        try Measurement(
            what: "training examples",
            value: Double(examples) / took,
            unit: "examples/s",
            note:
                "\(dataset.schema.columns.count - 2) features, \(epoch) epochs of \(train.count), sum \(sum)"
        ).show(json: json)
    }
}
