// SPDX-License-Identifier: Apache-2.0
private import Executors
private import FoundationEssentials
private import Synchronization
private import Tables

/// A trained session transformer: what comes next is the item whose vector fits the session's best.
package struct SessionModel: Recommender {
    package static let settingsFile = "settings.json"

    package let items: [Int32]
    package let rows: [Int32]
    fileprivate let settings: SessionTransformerSettings
    private let columns: SessionColumns
    fileprivate let network: SessionNetwork
    /// Events of each item that were learned from, and how far; of trainings over windows.
    private let past: (counts: [Int], progress: SessionBase.Progress)?

    package var kind: String { SessionTransformer.kind }

    init(
        _ settings: SessionTransformerSettings,
        _ columns: SessionColumns,
        _ network: SessionNetwork,
        isMet: [Bool],
        past: (counts: [Int], progress: SessionBase.Progress)? = nil
    ) {
        self.past = past
        self.settings = settings
        self.columns = columns
        self.network = network
        items = isMet.indices.filter { isMet[$0] }.map { Int32($0) }
        rows = Self.rows(of: items, itemCount: isMet.count)
    }

    package var itemVectors: Matrix? { vectors }

    package func searcher(on gpu: GPU?) throws(PredictorError) -> any Searcher {
        try SessionSearcher(self, on: gpu)
    }

    /// known items × width.
    fileprivate var vectors: Matrix {
        let table = network.items.table.values
        let vectors = RowBuffer(columns: table.columns)
        vectors.gather(items.map { $0 + Code.first(hashBuckets: 0) }, of: table)
        return vectors.matrix
    }

    // MARK: files

    package func write(to folder: String) throws(PredictorError) {
        // What the optimiser keeps is for those who go on.
        var tensors = network.tensors.filter { past != nil || !$0.key.hasPrefix("state.") }
        if let past {
            tensors.merge(SessionBase.tensors(past.progress, past.counts, columns)) { $1 }
        }
        tensors["known"] = .int32(items, shape: [items.count])
        try SafeTensors.write(tensors, to: "\(folder)/\(Self.file)")
        let file = try OutputFile("\(folder)/\(Self.settingsFile)")
        try file.write(stableJSON(settings))
        try file.sync()
    }

    /// `dataset`: the one that it was trained on.
    init(from folder: String, _ dataset: Dataset) throws(PredictorError) {
        let path = "\(folder)/\(Self.settingsFile)"
        let settings: SessionTransformerSettings
        do {
            settings = try JSONDecoder().decode(
                SessionTransformerSettings.self,
                from: Data(contentsOf: URL(filePath: path))
            )
        } catch { throw .file(path, "is not a session model's: \(error)") }
        let file = try TensorFile("\(folder)/\(Self.file)")
        let columns = try SessionColumns(dataset)
        var generator = SeededGenerator(seed: 0)
        var asked = settings
        // One that keeps nothing beside the weights: they do not move any more.
        asked.optimiser.kind = .sgd
        let network = SessionNetwork(
            asked,
            columns,
            itemCount: dataset.items.count,
            &generator
        )
        try network.restore(from: file)
        var isMet = [Bool](repeating: false, count: dataset.items.count)
        for item in try file.int32("known") {
            guard isMet.indices.contains(Int(item)) else {
                throw .file(folder, "knows items that the dataset does not have")
            }
            isMet[Int(item)] = true
        }
        self.init(settings, columns, network, isMet: isMet)
    }

    // MARK: sessions

    /// The newest events of a session that the model reads: places in its history; empty where it
    /// knows none of them.
    fileprivate func read(_ history: [Int32]) -> [Int] {
        // A new item may be known by its features.
        let describes = (columns.categories + columns.numbers).contains {
            $0.column.entity == .items
        }
        let known = history.indices.filter { describes || rows[Int(history[$0])] >= 0 }
        guard known.contains(where: { rows[Int(history[$0])] >= 0 }) else { return [] }
        return known.suffix(settings.readLength)
    }

    /// A vector for each of these sessions, from `network`.
    fileprivate func vectors(
        of sessions: [(query: Query, places: [Int])],
        _ network: SessionNetwork
    )
        -> Matrix
    {
        var examples = SessionExamples(settings, columns, isMet: rows.map { $0 >= 0 })
        for (query, places) in sessions {
            examples.append(
                history: places.map { query.history[$0] },
                events: query.events.isEmpty ? [] : places.map { query.events[$0] },
                item: 0
            )
        }
        return network.forward(examples.tokens, examples.selected, hidden: examples.hidden).matrix
    }
}

/// By the vectors of sessions, worked out some at a time.
private struct SessionSearcher: Searcher {
    /// Sessions that a thread works out at a time: their rows stay in its cache.
    private static let batch = 64

    private let model: SessionModel
    private let search: VectorSearch
    private let networks: Networks

    init(_ model: SessionModel, on gpu: GPU?) throws(PredictorError) {
        self.model = model
        search = try VectorSearch(model.vectors, items: model.items, rows: model.rows, on: gpu)
        networks = Networks(model.network)
    }

    func lists(
        _ queries: [Query],
        hidden: [[Int32]],
        k: Int,
        progress: (Double) throws -> Void
    ) throws -> [RankedList?] {
        let known = queries.indices
            .map { (query: $0, places: model.read(queries[$0].history)) }
            .filter { !$0.places.isEmpty }
        var vectors = [[Float]?](repeating: nil, count: queries.count)
        let threads = model.settings.threads
        let passes = networks.take(threads)
        defer { networks.give(passes) }
        for first in stride(from: 0, to: known.count, by: threads * Self.batch) {
            try progress(0.5 * Double(first) / Double(known.count))
            let parts = (0..<threads).map { thread in
                let start = min(first + thread * Self.batch, known.count)
                return known[start..<min(start + Self.batch, known.count)]
            }
            let found = Mutex([Matrix?](repeating: nil, count: threads))
            parallelFor(threads, threads: threads) { numbers, _ in
                for number in numbers where !parts[number].isEmpty {
                    let matrix = model.vectors(
                        of: parts[number].map { (queries[$0.query], $0.places) },
                        passes[number]
                    )
                    found.withLock { $0[number] = matrix }
                }
            }
            for (part, matrix) in zip(parts, found.withLock { $0 }) {
                guard let matrix else { continue }
                for (row, session) in part.enumerated() {
                    vectors[session.query] = Array(matrix[row: row])
                }
            }
        }
        return try search.lists(vectors, hidden: hidden, k: k, threads: threads) {
            try progress(0.5 + 0.5 * $0)
        }
    }

    /// Passes that wait for their next use: what they compute in is large.
    private final class Networks: Sendable {
        private let model: SessionNetwork
        private let free = Mutex<[SessionNetwork]>([])

        init(_ model: SessionNetwork) { self.model = model }

        func take(_ count: Int) -> [SessionNetwork] {
            var taken = free.withLock { free in
                let taken = Array(free.suffix(count))
                free.removeLast(taken.count)
                return taken
            }
            while taken.count < count { taken.append(SessionNetwork(sharing: model, threads: 1)) }
            return taken
        }

        func give(_ networks: [SessionNetwork]) { free.withLock { $0 += networks } }
    }
}
