// SPDX-License-Identifier: Apache-2.0
import CKernels
import Foundation
import Testing

@testable import Predictor

/// word2vec's kernel beside plain Swift loops that do the same.
struct Word2VecKernelTests {
    private struct Tables: Equatable {
        var input: [Float]
        var output: [Float]
        let size: Int
        let stride: Int

        init(rows: Int, size: Int, seed: Int) {
            self.size = size
            stride = (size + 15) / 16 * 16
            var generator = SeededGenerator(seed: seed)
            input = [Float](repeating: 0, count: rows * stride)
            output = input
            for row in 0..<rows {
                for i in row * stride..<row * stride + size {
                    input[i] = (generator.unitFloat() * 2 - 1) / Float(size).squareRoot()
                    output[i] = generator.unitFloat() * 2 - 1
                }
            }
        }

        /// One step of negative sampling: mean of the context, targets one after the other.
        mutating func step(
            _ context: [UInt32],
            _ center: UInt32,
            _ negatives: ArraySlice<UInt32>,
            _ alpha: Float
        ) {
            let mean = (0..<size).map { i in
                context.reduce(Float(0)) { $0 + input[Int($1) * stride + i] } / Float(context.count)
            }
            var error = [Float](repeating: 0, count: size)
            let before = output
            for target in [center] + negatives.filter({ $0 != center }) {
                let row = Int(target) * stride
                // Scores are of the rows as they were: a row that is drawn twice is moved twice.
                let score = (0..<size).reduce(Float(0)) { $0 + mean[$1] * before[row + $1] }
                guard score > -6 && score < 6 else { continue }
                let sigmoid = 1 / (1 + exp(-score))
                let gradient = ((target == center ? 1 : 0) - sigmoid) * alpha
                for i in 0..<size {
                    error[i] += gradient * output[row + i]
                    output[row + i] += gradient * mean[i]
                }
            }
            for word in context {
                for i in 0..<size { input[Int(word) * stride + i] += error[i] }
            }
        }

        mutating func train(_ windows: Windows, from first: Int, to last: Int) {
            var scratch = [Float](repeating: 9, count: 2 * stride)
            unsafe input.withUnsafeMutableBufferPointer { input in
                unsafe output.withUnsafeMutableBufferPointer { output in
                    unsafe windows.words.withUnsafeBufferPointer { words in
                        unsafe windows.reach.withUnsafeBufferPointer { reach in
                            unsafe windows.negatives.withUnsafeBufferPointer { negatives in
                                unsafe scratch.withUnsafeMutableBufferPointer { scratch in
                                    var part = unsafe larder_word2vec(
                                        input: input.baseAddress,
                                        output: output.baseAddress,
                                        stride: stride,
                                        words: words.baseAddress,
                                        reach: reach.baseAddress.map { unsafe $0 + first },
                                        count: words.count,
                                        first: first,
                                        last: last,
                                        negatives: negatives.baseAddress,
                                        negative: windows.negative,
                                        alpha: windows.alpha,
                                        skip_gram: windows.skipGram ? 1 : 0,
                                        scratch: scratch.baseAddress
                                    )
                                    unsafe larder_word2vec(&part)
                                }
                            }
                        }
                    }
                }
            }
        }
    }

    private struct Windows {
        var words: [UInt32]
        var reach: [UInt32]
        var negatives: [UInt32]
        var negative = 5
        var alpha: Float = 0.05
        var skipGram = false
    }

    @Test(arguments: [1, 7, 16, 17, 48, 64, 100, 128, 257, 300], [false, true])
    func `windows move what plain loops move`(_ size: Int, _ skipGram: Bool) {
        var generator = SeededGenerator(seed: size)
        var windows = Windows(
            words: (0..<12).map { _ in UInt32(generator.index(below: 20)) },
            reach: (0..<12).map { _ in UInt32(1 + generator.index(below: 4)) },
            // In CBOW more than are worked on together, and no two alike of one step.
            negatives: (0..<1000).map {
                skipGram ? UInt32(generator.index(below: 20)) : UInt32($0 % 20)
            }
        )
        windows.skipGram = skipGram
        windows.negative = skipGram ? 3 : 13
        var found = Tables(rows: 20, size: size, seed: size)
        var plain = found
        let (first, last) = (2, 11)
        found.train(windows, from: first, to: last)
        var drawn = windows.negatives[...]
        for center in first..<last {
            let reach = Int(windows.reach[center])
            let places = max(0, center - reach)...min(11, center + reach)
            let context = places.filter { $0 != center }.map { windows.words[$0] }
            for context in skipGram ? context.map({ [$0] }) : [context] {
                plain.step(
                    context,
                    windows.words[center],
                    drawn.prefix(windows.negative),
                    windows.alpha
                )
                drawn = drawn.dropFirst(windows.negative)
            }
        }
        for (a, b) in [(found.input, plain.input), (found.output, plain.output)] {
            #expect(zip(a, b).allSatisfy { abs($0 - $1) < 2e-5 * (1 + abs($1)) })
        }
        #expect(found != Tables(rows: 20, size: size, seed: size))
    }

    @Test func `a sentence of one word, and one whose window is alone, change nothing`() {
        var tables = Tables(rows: 20, size: 9, seed: 1)
        let before = tables
        let negatives = [UInt32](repeating: 3, count: 100)
        let alone = Windows(words: [4], reach: [5], negatives: negatives)
        tables.train(alone, from: 0, to: 1)
        #expect(tables == before)
    }

    @Test func `a score outside ±6 changes nothing`() {
        for score: Float in [-6, 6, 100, .infinity, .nan] {
            var tables = Tables(rows: 20, size: 1, seed: 1)
            tables.input[7 * 16] = 1
            tables.output[4 * 16] = score
            let before = tables
            let two = Windows(
                words: [4, 7],
                reach: [1, 1],
                negatives: [UInt32](repeating: 4, count: 100)
            )
            tables.train(two, from: 0, to: 1)
            #expect(tables.input == before.input)
            #expect(tables.output[4 * 16] == score || score.isNaN)
        }
    }

    @Test func `draws are those of a plain alias table, in the generator's order`() {
        let weights = (1...37).map { Double($0 * $0) }
        let table = AliasTable(weights: weights)
        var generator = SeededGenerator(seed: 3)
        var plain = generator
        var drawn: [UInt32] = []
        table.draw(1000, into: &drawn, &generator)
        for one in drawn {
            let bits = plain.next()
            let place = Int(((bits >> 32) * 37) >> 32)
            let coin = Float(bits & 0xff_ffff) * 0x1p-24
            #expect(one == (coin < table.threshold[place] ? UInt32(place) : table.alias[place]))
        }
        #expect(generator.next() == plain.next())
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
        var drawn: [UInt32] = []
        table.draw(100_000, into: &drawn, &generator)
        for one in drawn.prefix(100_000) { counts[Int(one)] += 1 }
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
