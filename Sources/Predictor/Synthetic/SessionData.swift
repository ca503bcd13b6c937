// SPDX-License-Identifier: Apache-2.0
private import FoundationEssentials
private import Glibc

/// The synthetic sessions of Transformers4Rec's first tutorial, with a seed.
///
/// Items are drawn independently of each other (clipped, truncated log-normal), so the best that
/// anything can do is to know how popular they are; how good that is can be worked out, and is
/// written beside the data.
package struct SessionData {
    package static let rows = 100_000

    /// What the best possible model reaches on it: of one relevant item among all.
    package struct Optimum: Sendable, Codable, Equatable {
        /// Nats; the cross entropy of the true distribution.
        package let loss: Double
        package let recall20: Double
        package let ndcg20: Double
        package let recall40: Double
        package let ndcg40: Double
        /// The forty most probable items, the list that reaches it.
        package let best: [Int]
    }

    private struct Manifest: Encodable {
        let generator = "t4rec"
        let rows: Int
        let seed: Int
        let source =
            "NVIDIA-Merlin Transformers4Rec, examples/getting-started-session-based/01-ETL"
        let optimum: Optimum
    }

    /// Writes events.csv, pipeline.yaml and manifest.json into an existing folder.
    package static func write(to folder: String, rows: Int, seed: Int) throws(PredictorError) {
        var generator = SeededGenerator(seed: seed)
        let items = (0..<rows).map { _ in item(&generator) }
        let sessions = (0..<rows).map { _ in 70_000 + generator.index(below: 20_000) }
        var dayOf = [Int](repeating: 0, count: 20_000)
        for place in dayOf.indices { dayOf[place] = 1 + generator.index(below: 9) }
        let least = items.min() ?? 0
        let width = Double((items.max() ?? 0) - least) / 334
        var file = try TextFile("\(folder)/events.csv")
        try file.write("session_id,item_id,category,timestamp,age_days,weekday_sin\n")
        for row in 0..<rows {
            // pandas.cut: bins of one width, open on the left, the least value in the first.
            let bin = width > 0 ? Int((Double(items[row] - least) / width).rounded(.up)) : 1
            let day = dayOf[sessions[row] - 70_000]
            try file.write(sessions[row], ",")
            try file.write(items[row], ",")
            try file.write(min(max(bin, 1), 334), ",")
            // A day from 2020-01-01 on; within it, in the order of the rows.
            try file.write(1_577_836_800 + (day - 1) * 86_400 + row * 86_400 / rows, ",")
            try file.write("\(generator.unitFloat()),\(generator.unitFloat())\n")
        }
        try file.finish()
        try SyntheticFiles.write(
            Manifest(rows: rows, seed: seed, optimum: optimum()),
            pipeline: pipeline,
            to: folder
        )
    }

    private static func item(_ generator: inout SeededGenerator) -> Int {
        min(max(Int(exp(3 + generator.normal())), 1), 50_000)
    }

    package static func optimum() -> Optimum {
        // Distribution function of the log-normal with mu 3 and sigma 1.
        func below(_ x: Int) -> Double { 0.5 * erfc(-(log(Double(x)) - 3) / 2.0.squareRoot()) }
        let shares = (1...50_000).map { item in
            (item == 50_000 ? 1 : below(item + 1)) - (item == 1 ? 0 : below(item))
        }
        let order = shares.indices.sorted { (shares[$1], $0) < (shares[$0], $1) }
        func recall(_ k: Int) -> Double { order.prefix(k).reduce(0) { $0 + shares[$1] } }
        func ndcg(_ k: Int) -> Double {
            order.prefix(k).enumerated().reduce(0) { sum, place in
                sum + shares[place.element] / log2(Double(place.offset) + 2)
            }
        }
        return Optimum(
            loss: -shares.reduce(0) { $1 > 0 ? $0 + $1 * log($1) : $0 },
            recall20: recall(20),
            ndcg20: ndcg(20),
            recall40: recall(40),
            ndcg40: ndcg(40),
            best: order.prefix(40).map { $0 + 1 }
        )
    }

    /// The tutorial's preparation: sessions of two events at least, the last twenty, 80/10/10.
    private static let pipeline = """
        feed: t4rec
        dataset:
          source: { csv: events.csv }
          columns: { user: session_id, item: item_id, time: timestamp }
          sessions: { min-events: 2, last: 20 }
          features:
            events:
              category: { category: category }
              age: { number: age_days, scale: none }
              weekday: { number: weekday_sin, scale: none }
          split: { by: sequences, validation: 10%, test: 10%, seed: 1 }
        model: { kind: session-transformer, compat: transformers4rec, windows: day }
        predict: { for: sessions, k: 20 }

        """
}

/// What stands beside synthetic events.
enum SyntheticFiles {
    static func write(
        _ manifest: some Encodable,
        pipeline: String,
        to folder: String
    ) throws(PredictorError) {
        let json = String(decoding: stableJSON(manifest, lines: true), as: UTF8.self)
        for (name, text) in [
            ("manifest.json", json + "\n"),
            ("pipeline.yaml", pipeline),
        ] {
            var file = try TextFile("\(folder)/\(name)")
            try file.write(text)
            try file.finish()
        }
    }
}
