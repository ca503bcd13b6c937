// SPDX-License-Identifier: Apache-2.0
import CKernels
import Foundation
import Testing

@testable import Predictor

struct TopKTests {
    struct Search {
        var k: Int
        var bias: [Float]?
        var allowed: [Int32]?
    }

    /// The plain twin: every score, from left to right in fused multiply-adds, then a full sort.
    static func reference(
        _ search: Search,
        _ queries: Matrix,
        _ items: Matrix,
        _ excluded: [[Int32]]?
    ) -> TopKLists {
        var lists = TopKLists(queries: queries.rows, k: search.k)
        let allowed = search.allowed ?? Array(0..<Int32(items.rows))
        for query in 0..<queries.rows {
            let banned = Set(excluded?[query] ?? [])
            let q = Array(queries[row: query])
            var hits: [(score: Float, row: Int32)] = []
            for row in allowed where !banned.contains(row) {
                var score = search.bias?[Int(row)] ?? 0
                for (a, b) in zip(q, items[row: Int(row)]) { score.addProduct(a, b) }
                hits.append((score, row))
            }
            hits.sort { $0.score != $1.score ? $0.score > $1.score : $0.row < $1.row }
            let best = hits.prefix(search.k)
            lists.counts[query] = best.count
            for (place, hit) in best.enumerated() {
                lists.rows[query * search.k + place] = hit.row
                // -0 is 0.
                lists.scores[query * search.k + place] = hit.score + 0
            }
        }
        return lists
    }

    static func uniform(
        _ rows: Int,
        _ columns: Int,
        _ generator: inout SeededGenerator,
        _ value: (inout SeededGenerator) -> Float = { $0.unitFloat() * 2 - 1 }
    ) -> Matrix {
        Matrix(
            rows: rows,
            columns: columns,
            values: (0..<rows * columns).map { _ in value(&generator) }
        )
    }

    private func expectTwin(
        _ search: Search,
        _ queries: Matrix,
        _ items: Matrix,
        _ excluded: [[Int32]]? = nil
    ) throws {
        let expected = Self.reference(search, queries, items, excluded)
        let index = try TopKIndex(items, bias: search.bias, allowed: search.allowed)
        for pass in [TopKIndex.Pass.float32, .int8, .automatic] {
            for threads in [1, 3] {
                let found = try index.search(
                    queries,
                    k: search.k,
                    excluded: excluded,
                    pass: pass,
                    threads: threads
                )
                #expect(found == expected, "\(pass) with \(threads) threads")
                let bits = found.scores.map(\.bitPattern)
                #expect(bits == expected.scores.map(\.bitPattern))
            }
        }
    }

    @Test(arguments: [
        (1, 1, 1, 1), (1, 5000, 17, 7), (3, 5, 2, 10), (5, 63, 3, 2), (7, 64, 4, 64),
        (13, 65, 5, 9), (200, 1100, 8, 10), (40, 1500, 32, 300), (97, 2049, 3, 50),
        (2, 3000, 4, 3000),
        (25, 1200, 64, 10), (12, 1500, 48, 100), (7, 200, 513, 5), (2, 100, 2048, 3),
    ])
    func `lists are those of the plain twin, bit for bit`(_ n: Int, _ m: Int, _ d: Int, _ k: Int)
        throws
    {
        var generator = SeededGenerator(seed: n + m)
        let queries = Self.uniform(n, d, &generator)
        let items = Self.uniform(m, d, &generator)
        try expectTwin(Search(k: k), queries, items)
        let excluded = (0..<n).map { _ in
            (0..<Int32(m)).filter { _ in generator.index(below: 4) == 0 }
        }
        var search = Search(k: k)
        search.bias = (0..<m).map { _ in (generator.unitFloat() * 2 - 1) * 3 }
        search.allowed = (0..<Int32(m)).filter { _ in generator.index(below: 3) > 0 }
        try expectTwin(search, queries, items, excluded)
    }

    /// Small integers: products are exact and many scores are equal.
    @Test(arguments: [(40, 1100, 1, 10), (20, 3000, 2, 100), (100, 700, 8, 25)])
    func `equal scores are in the order of their rows`(_ n: Int, _ m: Int, _ d: Int, _ k: Int)
        throws
    {
        var generator = SeededGenerator(seed: m)
        let integer = { (generator: inout SeededGenerator) in Float(generator.index(below: 5)) - 2 }
        try expectTwin(
            Search(k: k),
            Self.uniform(n, d, &generator, integer),
            Self.uniform(m, d, &generator, integer)
        )
    }

    @Test func `zeros, copies, and one giant among dwarfs`() throws {
        var generator = SeededGenerator(seed: 5)
        let queries = Self.uniform(20, 16, &generator)
        let zeros = Matrix(rows: 300, columns: 16, values: [Float](repeating: 0, count: 4800))
        try expectTwin(Search(k: 10), queries, zeros)
        try expectTwin(Search(k: 10), Matrix(rows: 300, columns: 16, values: zeros.values), queries)
        let one = Self.uniform(1, 16, &generator)
        let copies = Matrix(
            rows: 2000,
            columns: 16,
            values: (0..<2000).flatMap { _ in one.values }
        )
        try expectTwin(Search(k: 30), queries, copies)
        // All of the bound is spent on one item: the rest is known to within nothing.
        var giants = Self.uniform(2000, 16, &generator)
        for place in 0..<16 { giants.values[777 * 16 + place] *= 1e12 }
        for place in stride(from: 0, to: giants.values.count, by: 97) {
            giants.values[place] *= 1e6
        }
        try expectTwin(Search(k: 30), queries, giants)
    }

    @Test(arguments: [-146, -100, -66, 50, 61])
    func `tiny and huge vectors`(_ exponent: Int) throws {
        let scale = Float(sign: .plus, exponent: exponent, significand: 1)
        var generator = SeededGenerator(seed: 9)
        let values = { (generator: inout SeededGenerator) in (generator.unitFloat() * 2 - 1) * scale
        }
        let queries = Self.uniform(20, 12, &generator, values)
        let items = Self.uniform(900, 12, &generator, values)
        try expectTwin(Search(k: 20), queries, items)
        try expectTwin(Search(k: 20), queries, Self.uniform(900, 12, &generator))
    }

    /// Catalogues of several chunks: lists go on from where the last chunk left them.
    @Test func `items beyond what is packed at a time`() throws {
        var generator = SeededGenerator(seed: 3)
        let items = Self.uniform(8300, 2048, &generator) { Float($0.index(below: 200)) }
        try expectTwin(Search(k: 40), Self.uniform(1, 2048, &generator), items)
    }

    @Test func `against float64, only scores within the rounding bound change places`() throws {
        var generator = SeededGenerator(seed: 4)
        let queries = Self.uniform(10, 200, &generator)
        let items = Self.uniform(1000, 200, &generator)
        let found = try TopKIndex(items).search(queries, k: 100)
        func exact(_ q: Int, _ row: Int) -> Double {
            zip(queries[row: q], items[row: row]).reduce(0) { $0 + Double($1.0) * Double($1.1) }
        }
        for q in 0..<10 {
            let scores = (0..<1000).map { exact(q, $0) }
            let best = scores.sorted(by: >)
            for (place, row) in found.list(q).enumerated() {
                // γ₂₀₀ · Σ|q||v|, which is at most 200.
                #expect(abs(scores[Int(row)] - best[place]) <= 2 * 200 * 0x1p-24 * 200)
            }
        }
    }

    @Test func `numbers that cannot be ranked are refused, with the row`() throws {
        var generator = SeededGenerator(seed: 1)
        let good = Self.uniform(10, 4, &generator)
        for bad in [Float.nan, .infinity, -.infinity] {
            var matrix = good
            matrix.values[4 * 7 + 1] = bad
            var error = #expect(throws: PredictorError.self) {
                _ = try TopKIndex(matrix)
            }
            #expect("\(try #require(error))".contains("item 7 has a number that is not finite"))
            error = #expect(throws: PredictorError.self) {
                _ = try TopKIndex(good).search(matrix, k: 1)
            }
            #expect("\(try #require(error))".contains("query 7 has"))
            #expect(throws: PredictorError.self) {
                _ = try TopKIndex(good, bias: [Float](repeating: 0, count: 9) + [bad])
            }
        }
        let huge = Self.uniform(10, 4, &generator) { _ in 1e20 }
        let error = #expect(throws: PredictorError.self) {
            _ = try TopKIndex(huge).search(huge, k: 1)
        }
        #expect("\(try #require(error))".contains("more than 32-bit floating point holds"))
    }

    @Test func `nothing to search gives empty lists`() throws {
        let none = Matrix(rows: 0, columns: 3, values: [])
        let one = Matrix(rows: 1, columns: 3, values: [1, 2, 3])
        #expect(try TopKIndex(one).search(none, k: 5).counts == [])
        #expect(try TopKIndex(none).search(one, k: 5).counts == [0])
        #expect(try TopKIndex(one, allowed: []).search(one, k: 5).counts == [0])
        #expect(try TopKIndex(one).search(one, k: 5, excluded: [[0]]).counts == [0])
    }

    @Test(arguments: [1, 3]) func `it tells how far it is, and stops when told to`(_ threads: Int)
        throws
    {
        struct Stop: Error {}
        var generator = SeededGenerator(seed: 2)
        let matrix = Self.uniform(2000, 8, &generator)
        let index = try TopKIndex(matrix)
        var shares: [Double] = []
        _ = try index.search(matrix, k: 1, threads: threads) { shares.append($0) }
        #expect(shares == shares.sorted() && shares.last == 1)
        var calls = 0
        #expect(throws: Stop.self) {
            _ = try index.search(matrix, k: 1, threads: threads) { _ in
                calls += 1
                throw Stop()
            }
        }
        #expect(calls == 1)
    }
}

struct TopKKernelTests {
    /// Without this a test of a lesser processor's kernels could be one of the best once more.
    @Test func `the kernels that were asked for are those that run`() throws {
        guard let wanted = ProcessInfo.processInfo.environment["LARDER_CPU"] else { return }
        let levels = ["v4", "v3", "baseline"]
        let place = try #require(levels.firstIndex(of: wanted))
        // Or lesser ones, where the processor has no better.
        #expect(levels[place...].contains(unsafe String(cString: larder_cpu_level())))
    }

    @Test func `bounds that exclude too little are not tried twice`() throws {
        var generator = SeededGenerator(seed: 8)
        // One giant a panel: its unit leaves nothing of the others.
        var items = Matrix(
            rows: 64 * 300,
            columns: 4,
            values: (0..<64 * 300 * 4).map { _ in generator.unitFloat() - 0.5 }
        )
        for panel in 0..<300 { items.values[panel * 256] = -1e6 }
        let queries = Matrix(
            rows: 30,
            columns: 4,
            values: Array(items.values[256 * 7..<256 * 7 + 120])
        )
        let index = try TopKIndex(items)
        let first = try index.search(queries, k: 5)
        #expect(index.isLoose == (larder_topk_prefers8() != 0))
        #expect(try index.search(queries, k: 5) == first)
        #expect(try index.search(queries, k: 5, pass: .float32) == first)
    }

    @Test(arguments: [1, 2, 15, 16, 17, 100, 1000]) func `the k-th greatest is that of a sort`(
        _ count: Int
    ) {
        var generator = SeededGenerator(seed: count)
        for spread in [1.0, 3, 1e30] {
            let values = (0..<count).map { _ in
                Float(Double(generator.unitFloat() * 2 - 1) * spread).rounded(.towardZero)
                    + (spread == 1 ? generator.unitFloat() : 0)
            }
            let sorted = values.sorted(by: >)
            for k in Set([1, count / 2 + 1, count]) {
                #expect(unsafe larder_topk_kth(values, count, k) == sorted[k - 1])
            }
        }
    }
}
