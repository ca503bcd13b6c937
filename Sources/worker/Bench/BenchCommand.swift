// SPDX-License-Identifier: Apache-2.0
import ArgumentParser
import Foundation
import Jobs

struct BenchCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "bench",
        abstract: "Measure Larder on this machine.",
        discussion: """
            Our side only; `make bench CASE=queue` in a checkout runs it beside other systems. It \
            works in the queue "bench" of the database it is given, on the settings of that \
            server: use one that does nothing else.
            """,
        subcommands: [
            QueueBenchCommand.self, LoadBenchCommand.self, LoaderBenchCommand.self,
            TopKBenchCommand.self, GPUBenchCommand.self, Prod2VecBenchCommand.self,
            ModelBenchCommand.self,
            NetworkBenchCommand.self, RedisBenchCommand.self, EchoBenchCommand.self,
            BenchWorkerCommand.self,
        ]
    )
}

/// One figure, printed as a line for people or as JSON.
struct Measurement: Encodable {
    let what: String
    let value: Double
    let unit: String
    var note = ""

    func show(json: Bool) throws {
        if json { return try Output.json(self) }
        let number = value >= 100 ? Output.count(Int(value)) : String(format: "%.2f", value)
        print(
            what.padding(toLength: 44, withPad: " ", startingAt: 0) + number + " " + unit
                + (note.isEmpty ? "" : "  (\(note))")
        )
    }
}

struct QueueBenchCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "queue",
        abstract: "Jobs a second, latency of a start, and what an old transaction does to them."
    )

    @Option(help: "Which: \(QueueBench.Part.allCases.map(\.rawValue).joined(separator: ", ")).")
    var only: [QueueBench.Part] = [.enqueue, .single, .batch, .worker, .latency]

    @Option(help: "Seconds for each rate.")
    var seconds = 5

    @OptionGroup var stores: StoreOptions

    func run() async throws {
        try await stores.withServices { services, _ in
            let bench = QueueBench(database: services.database, seconds: seconds)
            for part in only {
                for measurement in try await bench.measure(part) {
                    try measurement.show(json: stores.json)
                    fflush(nil)
                }
            }
        }
    }
}

extension QueueBench.Part: ExpressibleByArgument {}
