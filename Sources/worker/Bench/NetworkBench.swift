// SPDX-License-Identifier: Apache-2.0
import ArgumentParser
import CUDA
import Foundation
import Predictor
import Tables

struct NetworkBenchCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "network",
        abstract: "Examples a second of a pipeline's network.",
        discussion: """
            Of a session transformer also how many sessions a second are answered. With --trace, what \
            a first step of the others left of the weights, the batches and losses of the next ones, \
            and the weights at their end are written, for another program to repeat. With a GPU, its \
            losses are compared with those that a processor has from the same weights.
            """
    )

    @Argument(help: "The pipeline file.", completion: .file()) var pipeline: String
    @Option(help: "Where the dataset is, or is written to be there the next time.")
    var dataset: String
    @Option(help: "Steps that are timed, after five that are not.") var steps = 40
    @Option(help: "A folder for begin/, end/ and trace.safetensors.") var trace: String?
    @Option(help: "What trains: cpu, or a GPU: cuda:0.") var device: DeviceOption = .cpu
    @Flag(help: "Machine-readable.") var json = false

    func validate() throws {
        guard steps > 0 else { throw ValidationError("--steps is \(steps), but must be 1 or more") }
        guard device != .automatic else {
            throw ValidationError("--device is cpu, or a GPU: cuda:0")
        }
        guard device == .cpu || trace == nil else {
            throw ValidationError("--trace is for --device cpu")
        }
    }

    private struct Enough: Error {}

    func run() throws {
        let pipeline = try PipelineParser.parse(file: pipeline)
        let data = try BenchDataset.open(dataset, pipeline)
        let gpu = try gpu()
        var events: [Int32] = []
        var users: [Int32] = []
        var items: [Int32] = []
        var losses: [Float] = []
        var clock = ContinuousClock.now
        var examples = 0
        let before = ProcessMemory.forgetPeak()
        func tell(_ progress: TrainingProgress) throws {
            if let trace {
                if progress.step == 1 {
                    try progress.writeState(to: folder("begin", in: trace))
                } else {
                    events += progress.batch.events
                    users += progress.batch.users
                    items += progress.batch.items
                    losses.append(Float(progress.loss))
                }
                if losses.count == steps {
                    try progress.writeState(to: folder("end", in: trace))
                    throw Enough()
                }
            } else if progress.step == 5 {
                clock = .now
            } else if progress.step > 5 {
                examples += progress.examples
                if progress.step == 5 + steps { throw Enough() }
            }
        }
        do {
            try train(pipeline, data, gpu, tell)
            throw ValidationError("its training has less than \(steps) steps: raise `epochs:`")
        } catch is Enough {}
        if let trace {
            return try SafeTensors.write(
                [
                    "events": .int32(events, shape: [losses.count, events.count / losses.count]),
                    "users": .int32(users, shape: [losses.count, users.count / losses.count]),
                    "items": .int32(items, shape: [losses.count, items.count / losses.count]),
                    "losses": .float32(losses, shape: [losses.count]),
                ],
                to: "\(trace)/trace.safetensors"
            )
        }
        try Measurement(
            what: "training",
            value: Double(examples) / ((ContinuousClock.now - clock) / .seconds(1)),
            unit: "examples/s"
        ).show(json: json)
        if let gpu { return try compare(pipeline, data, gpu) }
        if case .sessionTransformer(let settings) = pipeline.model {
            try ask(settings, data, k: pipeline.predict.rules.k)
        }
        try Measurement(
            what: "memory above the data",
            value: ProcessMemory.peakMiB - before,
            unit: "MiB"
        ).show(json: json)
    }

    private func gpu() throws -> GPU? {
        guard case .cuda(let number) = device else { return nil }
        let gpu = try GPU(number: number, folders: DeviceOption.folders) { error in
            FileHandle.standardError.write(Data("warning: \(error)\n".utf8))
        }
        try gpu.prepare()
        return gpu
    }

    private func train(
        _ pipeline: Pipeline,
        _ data: Dataset,
        _ gpu: GPU?,
        _ tell: (TrainingProgress) throws -> Void
    ) throws {
        func tellOf(_ progress: TrainingProgress) throws {
            if gpu != nil, progress.device == nil {
                throw SettingsError("this network was not trained on the GPU")
            }
            try tell(progress)
        }
        switch (pipeline.model, pipeline.rank?.model) {
        case (_, .ratingMLP(let settings)):
            _ = try RatingMLP.train(data, on: .forTraining, settings, gpu: gpu, progress: tellOf)
        case (.twoTower(let settings), _):
            _ = try TwoTower.train(data, on: .forTraining, settings, gpu: gpu, progress: tellOf)
        case (.sessionTransformer(let settings), _):
            guard trace == nil else {
                throw ValidationError("--trace is for two-tower and rating-mlp")
            }
            _ = try SessionTransformer.train(
                data,
                on: .forTraining,
                settings,
                gpu: gpu,
                progress: tellOf
            )
        default: throw ValidationError("the pipeline has no network")
        }
    }

    /// Losses of both from the same weights, of a hundred steps, or as many as a processor does in a minute.
    private func compare(_ pipeline: Pipeline, _ data: Dataset, _ gpu: GPU) throws {
        func losses(_ gpu: GPU?, seconds: Double) throws -> [Double] {
            var losses: [Double] = []
            let start = ContinuousClock.now
            do {
                try train(pipeline, data, gpu) { progress in
                    losses.append(progress.loss)
                    let took = (ContinuousClock.now - start) / .seconds(1)
                    if losses.count == 100 || losses.count >= 3 && took > seconds {
                        throw Enough()
                    }
                }
            } catch is Enough {}
            return losses
        }
        let own = try losses(gpu, seconds: .infinity)
        let pairs = try Array(zip(own, losses(nil, seconds: 60)))
        let apart = pairs.map { abs($0 - $1) }.max() ?? .infinity
        try Measurement(
            what: "losses of \(pairs.count) steps, beside the processor's",
            value: apart * 1e6,
            unit: "millionths apart at most",
            note: gpu.device.name
        ).show(json: json)
        guard apart < 1e-3 else {
            throw SettingsError("the GPU's losses are not the processor's: do not use it")
        }
    }

    /// Lists of all sessions, by a model that was trained for a moment.
    private func ask(_ settings: SessionTransformerSettings, _ data: Dataset, k: Int) throws {
        let model = try SessionTransformer.train(data, on: .forTraining, settings, epochs: 0.01)
        let ranker = try Ranker(
            model.model,
            fallback: Popularity.train(data, on: .forTraining),
            ListRules(k: k, excludesSeen: false)
        )
        let queries = (0..<data.sequenceCount).map {
            Query(user: nil, events: data.events(ofSequence: $0).dropLast(), of: data)
        }
        _ = try ranker.lists(for: Array(queries.prefix(512)))
        let start = ContinuousClock.now
        let lists = try ranker.lists(for: queries)
        try Measurement(
            what: "asking",
            value: Double(lists.count) / ((ContinuousClock.now - start) / .seconds(1)),
            unit: "sessions/s"
        ).show(json: json)
    }

    private func folder(_ name: String, in trace: String) throws -> String {
        let path = "\(trace)/\(name)"
        try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
        return path
    }
}
