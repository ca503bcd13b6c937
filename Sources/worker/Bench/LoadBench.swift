// SPDX-License-Identifier: Apache-2.0
import ArgumentParser
import Foundation
import Postgres
import Predictor
import Tables

struct LoadBenchCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "load",
        abstract: "Rows a second from a pipeline's source to a finished dataset."
    )

    @Argument(help: "The pipeline file; what follows its dataset is not run.")
    var pipeline: String

    @Option(help: "Threads that read.")
    var threads = Table.processorCount

    @Option(help: "MiB of events that stay in memory.")
    var buffer = DatasetBuilder.buffer >> 20

    @Option(help: "Where the dataset is written, and removed again.")
    var folder = FileManager.default.temporaryDirectory.path

    @Flag(help: "Machine-readable.")
    var json = false

    func run() throws {
        let settings = try PipelineParser.parse(file: pipeline).dataset
        let place = try ScratchFolder(in: folder)
        let start = ContinuousClock.now
        let summary = try DatasetBuilder.build(
            settings,
            into: place.path,
            tables: TableContext(
                database: StoreOptions.databaseOfEnvironment.map { ConnectionSettings($0) }
            ),
            limits: DatasetBuilder.Limits(threads: threads, buffer: buffer << 20)
        )
        let seconds = (ContinuousClock.now - start) / .seconds(1)
        let rows = Double(summary.read.rows)
        try Measurement(
            what: "rows to a dataset",
            value: rows / seconds,
            unit: "rows/s",
            note: "\(summary.events) events, \(summary.users) users, \(summary.items) items"
        ).show(json: json)
        try Measurement(what: "peak memory", value: ProcessMemory.peakMiB, unit: "MiB").show(
            json: json
        )
    }
}
