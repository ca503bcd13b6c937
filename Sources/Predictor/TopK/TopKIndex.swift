// SPDX-License-Identifier: Apache-2.0
private import CKernels
private import CUDA

/// Exact top-k: for each query the k items with the greatest scores.
///
/// A score is an inner product, plus the item's bias. It is summed from left to right in fused
/// multiply-adds, so that ids, order and scores are the same on every processor, with any number
/// of threads, and in both passes. Equal scores are in the order of their rows.
///
/// The scores of a tile of queries and items stay in registers, are compared there with the
/// queries' thresholds, and only survivors reach memory. Besides items, queries and lists an
/// index and a search take less than 256 MiB. Searches may run at the same time.
package final class TopKIndex: Sendable {
    /// How scores are found; the lists are the same.
    package enum Pass: String, Sendable, CaseIterable {
        /// The faster on this processor, and for these vectors.
        case automatic
        /// Every score in 32-bit floating point.
        case float32
        /// Bounds from products of 8-bit codes; scores only of what they cannot exclude.
        case int8
        /// On the GPU that the index was made with.
        case gpu
    }

    private let items: Matrix
    private let bias: [Float]?
    private let rows: [Int32]
    private let packed = PackedItems()
    private let device: DeviceTopK?
    /// Multiply-adds below which a GPU would wait for its data longer than a processor computes.
    private static let leastWork = 1e9
    /// A search found that the pass in 8 bits does not pay here.
    var isLoose: Bool { packed.isLoose }
    /// Of the longest item, and of the greatest bias.
    private let longest: Double
    private let mostBias: Double

    /// Items are m × d; `bias` is what the score of each starts from; `allowed` are the rows that may
    /// be in a list, ascending, nil for all; `gpu`: where to search what is worth the way.
    ///
    /// Refused are numbers that are not finite.
    package init(
        _ items: Matrix,
        bias: [Float]? = nil,
        allowed: [Int32]? = nil,
        on gpu: GPU? = nil
    ) throws(PredictorError) {
        precondition(items.columns > 0 && (bias == nil || bias?.count == items.rows))
        if let allowed {
            let all = 0..<Int32(items.rows)
            precondition(isAscending(allowed), "allowed rows must be ascending")
            precondition(allowed.first.map(all.contains) ?? true)
            precondition(allowed.last.map(all.contains) ?? true)
        }
        self.items = items
        self.bias = bias
        device = gpu.map { DeviceTopK($0) }
        rows = allowed ?? Array(0..<Int32(items.rows))
        longest = try Self.longest(items, "item")
        mostBias = Double(bias.map { $0.reduce(0) { max($0, abs($1)) } } ?? 0)
        guard bias?.allSatisfy(\.isFinite) ?? true else {
            throw .input("an item's bias is not finite: nothing can be ranked by it")
        }
    }

    /// Finds the k best items of each of n queries (n × d).
    ///
    /// `excluded` holds for each query the rows of items that must not be in its list, ascending.
    /// `.int8` works in 8 bits even where it does not pay; `.automatic` does not.
    /// `progress` is called on this thread, after each block of queries, with the share of the
    /// work that is done; it may throw to stop. Refused are numbers that are not finite, and vectors
    /// so large that a score could overflow.
    package func search(
        _ queries: Matrix,
        k: Int,
        excluded: [[Int32]]? = nil,
        pass: Pass = .automatic,
        threads: Int = 1,
        progress: (Double) throws -> Void = { _ in }
    ) throws -> TopKLists {
        precondition(queries.columns == items.columns, "queries and items need one width")
        precondition(excluded == nil || excluded?.count == queries.rows)
        precondition(k > 0, "a list has entries")
        // No partial sum is longer than |q|·|v| + |bias|.
        let most = try Self.longest(queries, "query") * longest + mostBias
        guard most < 0.99 * Double(Float.greatestFiniteMagnitude) else {
            throw PredictorError.input(
                "scores could be as large as \(most): more than 32-bit floating point holds",
                hint: "divide the vectors by their length"
            )
        }
        guard queries.rows > 0, !rows.isEmpty else {
            return TopKLists(queries: queries.rows, k: k)
        }
        if let device, pass == .gpu, min(k, rows.count) > device.longest {
            throw PredictorError.input(
                "lists of \(k) are longer than the \(device.longest) that this GPU makes"
            )
        }
        if let device, isForDevice(pass, queries, k, device) {
            do {
                return try device.search(
                    queries,
                    DeviceTopK.Problem(
                        items: items,
                        bias: bias,
                        rows: rows,
                        k: k,
                        excluded: excluded
                    ),
                    progress: progress
                )
            } catch let error as CUDAError where pass == .automatic {
                // The lists are the same from here on.
                device.gpu.failed(error)
            }
        }
        // With fewer queries than tiles for every thread, each thread takes all of them through a
        // part of the items.
        let parts = queries.rows < threads * Int(LARDER_TOPK_QUERIES) ? threads : 1
        var lists = TopKLists(queries: queries.rows * parts, k: k)
        try lists.withWriter { writer in
            try unsafe queries.values.withUnsafeBufferPointer { queryValues in
                try unsafe items.values.withUnsafeBufferPointer { itemValues in
                    try unsafe withBias { bias in
                        guard let first = queryValues.baseAddress else { return }
                        let problem = unsafe TopKProblem(
                            queries: first,
                            items: larder_topk_items(
                                values: itemValues.baseAddress,
                                depth: items.columns,
                                bias: bias
                            ),
                            k: min(k, rows.count),
                            excluded: excluded,
                            mayRefuse: pass == .automatic,
                            lists: writer
                        )
                        try TopKSearch(
                            problem: problem,
                            queryCount: queries.rows,
                            rows: rows,
                            packed: packed,
                            threads: threads,
                            parts: parts
                        ).run(pass, progress)
                    }
                }
            }
        }
        return lists.merged(parts)
    }

    private func isForDevice(_ pass: Pass, _ queries: Matrix, _ k: Int, _ device: DeviceTopK)
        -> Bool
    {
        guard min(k, rows.count) <= device.longest else { return false }
        if pass != .automatic { return pass == .gpu }
        let work = Double(queries.rows) * Double(rows.count) * Double(items.columns)
        return device.gpu.isUsable && (device.gpu.takesAll || work >= Self.leastWork)
    }

    private func withBias<T>(_ body: (UnsafePointer<Float>?) throws -> T) rethrows -> T {
        guard let bias else { return try body(nil) }
        return try unsafe bias.withUnsafeBufferPointer { try unsafe body($0.baseAddress) }
    }

    private static func longest(
        _ matrix: Matrix,
        _ name: String
    ) throws(PredictorError) -> Double {
        var longest = 0.0
        for row in 0..<matrix.rows {
            var sum = 0.0
            for value in matrix[row: row] { sum += Double(value) * Double(value) }
            guard sum.isFinite else {
                throw .input(
                    "\(name) \(row) has a number that is not finite: nothing can be ranked by it",
                    hint: "train the model again, with a lower learning rate"
                )
            }
            longest = max(longest, sum)
        }
        return longest.squareRoot()
    }
}
