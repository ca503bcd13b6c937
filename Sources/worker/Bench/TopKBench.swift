// SPDX-License-Identifier: Apache-2.0
import ArgumentParser
import Foundation
import Predictor
import Tables

struct TopKBenchCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "topk",
        abstract: "Exact top-k of vectors in files."
    )

    @Option(help: "A file of queries: 32-bit floats, --depth a row.")
    var queries: String

    @Option(help: "A file of items, as the queries.")
    var items: String

    @Option(help: "Numbers of a vector.")
    var depth: Int

    @Option(help: "Entries of a list.")
    var k = 10

    @Option(help: "How scores are found: automatic, float32 or int8.")
    var pass = TopKIndex.Pass.automatic

    @Option(help: "Threads that search.")
    var threads = Table.processorCount

    @Option(help: "Rows of items that are not in the lists, this many of each query.")
    var seen = 0

    @Option(help: "Where the lists' rows are written, 32-bit integers, k a query.")
    var output: String?

    @Flag(help: "Machine-readable.")
    var json = false

    func validate() throws {
        guard depth > 0, k > 0, threads > 0, seen >= 0 else {
            throw ValidationError("--depth, --k and --threads are above 0")
        }
    }

    func run() throws {
        let queries = try matrix(queries)
        let items = try matrix(items)
        let before = ProcessMemory.forgetPeak()
        let excluded = seen > 0 ? seenItems(queries.rows, of: items.rows) : nil
        let start = ContinuousClock.now
        let lists = try TopKIndex(items).search(
            queries,
            k: k,
            excluded: excluded,
            pass: pass,
            threads: threads
        )
        let seconds = (ContinuousClock.now - start) / .seconds(1)
        let operations = 2 * Double(queries.rows) * Double(items.rows) * Double(depth)
        try Measurement(
            what: "top-k",
            value: operations / seconds / 1e9,
            unit: "GFLOP/s",
            note: "\(queries.rows) queries, \(items.rows) items"
        ).show(json: json)
        // Lists included: they are there when it ends.
        try Measurement(
            what: "memory above the data",
            value: ProcessMemory.peakMiB - before,
            unit: "MiB"
        ).show(json: json)
        if let output {
            try unsafe lists.rows.withUnsafeBytes {
                try unsafe Data($0).write(to: URL(fileURLWithPath: output))
            }
        }
    }

    private func matrix(_ path: String) throws -> Matrix {
        guard let data = FileManager.default.contents(atPath: path) else {
            throw ValidationError("\(path): cannot be read")
        }
        guard data.count % (4 * depth) == 0 else {
            throw ValidationError("\(path) is not of rows of \(depth) 32-bit floats")
        }
        let values = unsafe data.withUnsafeBytes { unsafe Array($0.bindMemory(to: Float.self)) }
        return Matrix(rows: data.count / 4 / depth, columns: depth, values: values)
    }

    /// Spread evenly, another place for each query.
    private func seenItems(_ queries: Int, of items: Int) -> [[Int32]] {
        let step = max(1, items / seen)
        return (0..<queries).map { query in
            stride(from: query % step, to: items, by: step).prefix(seen).map { Int32($0) }
        }
    }
}

extension TopKIndex.Pass: ExpressibleByArgument {}
