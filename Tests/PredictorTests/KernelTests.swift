// SPDX-License-Identifier: Apache-2.0
import CKernels
import Foundation
import Testing

@testable import Predictor

/// Every C kernel beside a plain Swift loop that does the same.
struct KernelTests {
    private let sigmoid = (0..<1000).map { place in
        let power = exp((Float(place) / 1000 * 2 - 1) * 6)
        return power / (power + 1)
    }

    private func vector(_ count: Int, _ generator: inout SeededGenerator) -> [Float] {
        (0..<count).map { _ in generator.unitFloat() * 2 - 1 }
    }

    @Test(arguments: [1, 7, 8, 9, 15, 16, 17, 48, 100, 257])
    func `negative sampling moves what the plain loop moves`(_ size: Int) {
        var generator = SeededGenerator(seed: size)
        // Small, so that no score leaves the table: that case has a test of its own.
        let hidden = vector(size, &generator).map { $0 / Float(size) }
        var outputs = vector(20 * size, &generator)
        var error = vector(size, &generator)
        let before = outputs
        var plainOutputs = outputs
        var plainError = error
        let targets: [UInt32] = [3, 7, 7, 0, 19]
        unsafe larder_negative_sampling(
            hidden,
            &error,
            &outputs,
            targets,
            targets.count,
            size,
            0.05,
            sigmoid
        )

        for (place, target) in targets.enumerated() {
            let row = Int(target) * size
            let score = (0..<size).reduce(Float(0)) { $0 + hidden[$1] * plainOutputs[row + $1] }
            guard score > -6 && score < 6 else { continue }
            let gradient =
                ((place == 0 ? 1 : 0) - sigmoid[min(999, Int((score + 6) * 1000 / 12))]) * 0.05
            for i in 0..<size {
                plainError[i] += gradient * plainOutputs[row + i]
                plainOutputs[row + i] += gradient * hidden[i]
            }
        }
        // The table has 1,000 steps: a score on an edge may fall to either side.
        #expect(zip(error, plainError).allSatisfy { abs($0 - $1) < 2e-3 })
        #expect(zip(outputs, plainOutputs).allSatisfy { abs($0 - $1) < 2e-3 })
        #expect(targets.allSatisfy { outputs[Int($0) * size] != before[Int($0) * size] })
    }

    @Test func `a score outside the sigmoid table changes nothing`() {
        for score: Float in [-6, 6, 100, .infinity, .nan] {
            var outputs: [Float] = [score]
            var error: [Float] = [0]
            unsafe larder_negative_sampling([1], &error, &outputs, [0], 1, 1, 0.05, sigmoid)
            #expect(error == [0])
            #expect(outputs[0] == score || score.isNaN)
        }
    }

    @Test(arguments: [1, 3, 16, 33, 100])
    func `rows are summed, scaled and added to`(_ size: Int) {
        var generator = SeededGenerator(seed: size)
        var table = vector(10 * size, &generator)
        let rows: [UInt32] = [9, 0, 4, 4]
        var sum = [Float](repeating: 99, count: size)
        unsafe larder_sum_rows(table, rows, rows.count, size, 0.25, &sum)
        for i in 0..<size {
            let plain = rows.reduce(Float(0)) { $0 + table[Int($1) * size + i] } * 0.25
            #expect(abs(sum[i] - plain) < 1e-6)
        }
        let before = table
        unsafe larder_add_to_rows(&table, rows, rows.count, size, sum)
        for row in 0..<10 {
            let times = Float(rows.count { $0 == UInt32(row) })
            for i in 0..<size {
                #expect(abs(table[row * size + i] - before[row * size + i] - times * sum[i]) < 1e-6)
            }
        }
    }

    @Test(arguments: [0, 1, 63, 64, 65, 128, 1000])
    func `places above a threshold are found in order`(_ count: Int) {
        var generator = SeededGenerator(seed: count)
        var scores = vector(count, &generator)
        if count > 3 { scores[2] = .nan }
        if count > 70 { scores[70] = -.infinity }
        var found = [UInt32](repeating: 0, count: count)
        for threshold: Float in [-.infinity, 0, 0.9, 2] {
            let n = unsafe larder_find_above(scores, count, threshold, &found)
            #expect(found[..<n].map { Int($0) } == scores.indices.filter { scores[$0] > threshold })
        }
    }
}

struct RandomTests {
    @Test func `indices are spread evenly below their bound`() {
        var generator = SeededGenerator(seed: 1)
        var counts = [Int](repeating: 0, count: 10)
        for _ in 0..<100_000 { counts[generator.index(below: 10)] += 1 }
        // Standard deviation 95: five of them.
        #expect(counts.allSatisfy { abs($0 - 10_000) < 475 })
    }

    @Test func `alias draws follow the weights`() {
        let weights = [1.0, 0, 5, 14, 80]
        let table = AliasTable(weights: weights)
        var generator = SeededGenerator(seed: 2)
        var counts = [Int](repeating: 0, count: 5)
        for _ in 0..<100_000 { counts[Int(table.draw(&generator))] += 1 }
        for (count, weight) in zip(counts, weights) {
            #expect(abs(Double(count) - weight * 1000) < 5 * (weight * 1000).squareRoot() + 1)
        }
    }

    @Test func `the same seed gives the same numbers, another stream others`() {
        var a = SeededGenerator(seed: 7, stream: 1)
        var b = SeededGenerator(seed: 7, stream: 1)
        var c = SeededGenerator(seed: 7, stream: 2)
        let first = (0..<10).map { _ in a.next() }
        #expect(first == (0..<10).map { _ in b.next() })
        #expect(first != (0..<10).map { _ in c.next() })
    }
}
