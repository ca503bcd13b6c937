// SPDX-License-Identifier: Apache-2.0
import ArgumentParser
import CUDA
import Foundation
import Predictor

struct GPUBenchCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "gpu",
        abstract: "Exact top-k on a GPU, compared with the processor's lists.",
        discussion: """
            The default is the size of H&M's data: 1,370,000 customers, 105,000 articles; workers search \
            for 4096 at a time. Some of the queries are asked on the processor too, and their lists must be the same, bit for bit.
            """
    )

    @Option(help: "Vectors that ask.") var queries = 1_370_000
    @Option(help: "Vectors that are found.") var items = 105_000
    @Option(help: "Numbers of a vector.") var depth = 64
    @Option(help: "Entries of a list.") var k = 10
    @Option(help: "Queries that are asked on the processor too.") var compared = 2000
    @Option(help: "How often all are asked.") var rounds = 3
    @Option(help: "The GPU: cuda:0.") var device: DeviceOption = .cuda(0)
    @Flag(help: "Machine-readable.") var json = false

    func validate() throws {
        guard queries > 0, items > 0, depth > 0, k > 0, compared > 0, rounds > 0 else {
            throw ValidationError("everything is above 0")
        }
        guard case .cuda = device else { throw ValidationError("--device is a GPU, as cuda:0") }
    }

    func run() throws {
        guard case .cuda(let number) = device else { return }
        let start = ContinuousClock.now
        let gpu = try GPU(number: number, folders: DeviceOption.folders)
        try gpu.prepare()
        let prepared = (ContinuousClock.now - start) / .seconds(1)
        let asking = random(queries, seed: 1)
        let index = try TopKIndex(random(items, seed: 2), on: gpu)
        var seconds: [Double] = []
        var lists: TopKLists?
        for _ in 0...rounds {
            seconds.append(
                try gpu.device.time { lists = try index.search(asking, k: k, pass: .gpu) }
            )
        }
        let best = seconds.dropFirst().min() ?? 0
        let work = 2 * Double(queries) * Double(items) * Double(depth)
        let peak = gpu.device.peak
        for measurement in [
            Measurement(
                what: "kernels compiled and tried",
                value: prepared,
                unit: "s",
                note: gpu.device.name
            ),
            Measurement(
                what: "first search",
                value: seconds[0],
                unit: "s",
                note: "items go up too"
            ),
            Measurement(
                what: "best of \(rounds) more",
                value: best,
                unit: "s",
                note: "queries go up, lists come down"
            ),
            Measurement(what: "top-k", value: work / best / 1e12, unit: "TFLOP/s"),
            Measurement(
                what: "share of the device's",
                value: work / best / peak,
                unit: "of \(Int(peak / 1e12)) TFLOP/s"
            ),
        ] { try measurement.show(json: json) }
        try compare(asking, index, lists)
    }

    private func random(_ rows: Int, seed: Int) -> Matrix {
        var generator = SeededGenerator(seed: seed)
        return Matrix(
            rows: rows,
            columns: depth,
            values: (0..<rows * depth).map { _ in Float.random(in: -1...1, using: &generator) }
        )
    }

    private func compare(_ asking: Matrix, _ index: TopKIndex, _ lists: TopKLists?) throws {
        let step = max(1, queries / compared)
        let asked = Array(stride(from: 0, to: queries, by: step))
        let expected = try index.search(
            Matrix(
                rows: asked.count,
                columns: depth,
                values: asked.flatMap { asking[row: $0] }
            ),
            k: k,
            pass: .float32,
            threads: ProcessInfo.processInfo.activeProcessorCount
        )
        let same = asked.indices.count { place in
            let (own, other) = (
                place * k..<(place + 1) * k, asked[place] * k..<(asked[place] + 1) * k
            )
            return lists?.rows[other] == expected.rows[own]
                && lists?.scores[other] == expected.scores[own]
        }
        try Measurement(
            what: "lists as the processor's",
            value: Double(same),
            unit: "of \(asked.count)"
        ).show(json: json)
        guard same == asked.count else {
            throw SettingsError("the GPU's lists are not the processor's: do not use it")
        }
    }
}
