// SPDX-License-Identifier: Apache-2.0
import CUDA
import Foundation
import Synchronization
import TestSupport
import Testing

@testable import Predictor

extension GPUTests {
    /// Top-k as a GPU does it: on a driver that runs the very kernels on the CPU.
    struct TopK {
        private let card: EmulatedCard

        init() async throws { card = try await EmulatedCard() }

        private func expectTwin(
            _ search: TopKTests.Search,
            _ queries: Matrix,
            _ items: Matrix,
            _ excluded: [[Int32]]? = nil
        ) throws {
            let expected = TopKTests.reference(search, queries, items, excluded)
            let index = try TopKIndex(
                items,
                bias: search.bias,
                allowed: search.allowed,
                on: card.gpu()
            )
            // Items are on the device the second time.
            for _ in 0..<2 {
                let found = try index.search(queries, k: search.k, excluded: excluded, pass: .gpu)
                #expect(found == expected)
                #expect(found.scores.map(\.bitPattern) == expected.scores.map(\.bitPattern))
            }
        }

        @Test(arguments: [
            (1, 1, 1, 1), (1, 700, 17, 7), (3, 5, 2, 10), (5, 63, 3, 2), (7, 127, 4, 64),
            (130, 300, 8, 10), (20, 129, 32, 129), (4, 1500, 9, 50), (2, 1100, 4, 1100),
            (9, 1024, 64, 10),
        ])
        func `lists are those of the plain twin, bit for bit`(
            _ n: Int,
            _ m: Int,
            _ d: Int,
            _ k: Int
        )
            throws
        {
            var generator = SeededGenerator(seed: n + m)
            let queries = TopKTests.uniform(n, d, &generator)
            let items = TopKTests.uniform(m, d, &generator)
            try expectTwin(.init(k: k), queries, items)
            let excluded = (0..<n).map { _ in
                (0..<Int32(m)).filter { _ in generator.index(below: 4) == 0 }
            }
            var search = TopKTests.Search(k: k)
            search.bias = (0..<m).map { _ in (generator.unitFloat() * 2 - 1) * 3 }
            search.allowed = (0..<Int32(m)).filter { _ in generator.index(below: 3) > 0 }
            try expectTwin(search, queries, items, excluded)
        }

        /// Ascending scores: every item is better than all before it, and no threshold ever helps.
        @Test func `the worst order of items costs time, not items`() throws {
            let items = Matrix(rows: 1500, columns: 1, values: (0..<1500).map { Float($0) })
            let queries = Matrix(rows: 2, columns: 1, values: [1, -1])
            try expectTwin(.init(k: 10), queries, items)
            try expectTwin(.init(k: 300), queries, items)
            // All that is best is excluded.
            try expectTwin(.init(k: 10), queries, items, [Array(100..<1500), Array(0..<1400)])
        }

        @Test func `equal scores are in the order of their rows, and minus zero is zero`() throws {
            var generator = SeededGenerator(seed: 5)
            let integer = { (generator: inout SeededGenerator) in
                [-1, -0.0, 0, 1][generator.index(below: 4)] as Float
            }
            let queries = TopKTests.uniform(20, 2, &generator, integer)
            let items = TopKTests.uniform(900, 2, &generator, integer)
            try expectTwin(.init(k: 25), queries, items)
        }

        @Test func `a catalogue that is larger than the device goes through it in parts`() throws {
            var generator = SeededGenerator(seed: 6)
            let queries = TopKTests.uniform(20, 64, &generator)
            let items = TopKTests.uniform(8000, 64, &generator)
            let excluded = (0..<20).map { _ in
                (0..<Int32(8000)).filter { _ in generator.index(below: 9) == 0 }
            }
            let expected = TopKTests.reference(.init(k: 10), queries, items, excluded)
            // Room for less than half of the items.
            EmulatedGPU.set(memory: 5_250_000)
            defer { EmulatedGPU.set(memory: nil) }
            func search() throws -> TopKLists {
                try TopKIndex(items, on: card.gpu()).search(
                    queries,
                    k: 10,
                    excluded: excluded,
                    pass: .gpu
                )
            }
            #expect(try search() == expected)
            // In one part it would be four launches: two that pack, one that scans, one that finishes.
            EmulatedGPU.set(failure: "cuLaunchKernel:6:719")
            defer { EmulatedGPU.set(failure: nil) }
            #expect(throws: CUDAError.self) { try search() }
        }

        @Test func `a device without room says how much is wanted`() throws {
            EmulatedGPU.set(memory: 20_000)
            defer { EmulatedGPU.set(memory: nil) }
            var generator = SeededGenerator(seed: 7)
            let items = TopKTests.uniform(300, 64, &generator)
            let index = try TopKIndex(items, on: card.gpu())
            let error = #expect(throws: CUDAError.self) {
                try index.search(items, k: 10, pass: .gpu)
            }
            #expect(error?.description.contains("the GPU has no room for") == true)
        }

        @Test(arguments: [
            "cuMemAlloc:2:719", "cuLaunchKernel:1:719", "cuCtxSynchronize:1:719",
            "cuMemcpyDtoH:1:719",
            "cuModuleLoadData:1:200",
        ])
        func `what fails on the way is told by its name`(_ failure: String) throws {
            var generator = SeededGenerator(seed: 8)
            let items = TopKTests.uniform(300, 8, &generator)
            let index = try TopKIndex(items, on: card.gpu())
            EmulatedGPU.set(failure: failure)
            let error = #expect(throws: CUDAError.self) {
                try index.search(items, k: 10, pass: .gpu)
            }
            #expect(error?.description.contains(failure.prefix { $0 != ":" }) == true)
            EmulatedGPU.set(failure: nil)
            // Nothing is left over.
            let expected = TopKTests.reference(.init(k: 10), items, items, nil)
            #expect(try index.search(items, k: 10, pass: .gpu) == expected)
        }

        @Test
        func `lists that are too long, and what is not worth the way, are left to the processor`()
            throws
        {
            var generator = SeededGenerator(seed: 9)
            let items = TopKTests.uniform(300, 8, &generator)
            #expect(try DeviceTopK(card.gpu()).longest == 16_384 - 128)
            let long = TopKTests.uniform(17_000, 1, &generator)
            #expect(throws: PredictorError.self) {
                try TopKIndex(long, on: card.gpu()).search(long, k: 17_000, pass: .gpu)
            }
            let modest = try GPU(takesAll: false, folders: [card.folder])
            let told = Mutex(0)
            let eager = try GPU(folders: [card.folder]) { _ in told.withLock { $0 += 1 } }
            EmulatedGPU.set(failure: "cuLaunchKernel:1:719")
            defer { EmulatedGPU.set(failure: nil) }
            let expected = TopKTests.reference(.init(k: 10), items, items, nil)
            // It would have failed.
            #expect(try TopKIndex(items, on: modest).search(items, k: 10) == expected)
            // It has failed, is told once, and is left alone from then on.
            for _ in 0..<3 {
                #expect(try TopKIndex(items, on: eager).search(items, k: 10) == expected)
            }
            #expect(told.withLock { $0 } == 1)
        }

        @Test func `kernels are kept, and made anew where what was kept is refused`() throws {
            let cache = try TemporaryFolder()
            func kept() throws -> [String] {
                let all = try FileManager.default.contentsOfDirectory(
                    atPath: cache.path + "/kernels"
                )
                return all.filter { $0.hasPrefix("topk") }
            }
            func prepare() throws -> [UInt8] {
                try GPU(cache: cache.path + "/kernels", folders: [card.folder]).prepare()
                let files = try kept()
                #expect(files.count == 1)
                return cache.bytes(of: "kernels/" + files[0])
            }
            let image = try prepare()
            #expect(!image.isEmpty)
            let file = try cache.path + "/kernels/" + kept()[0]
            // The driver takes what begins so, and the rest says who wrote it.
            try Data(image + [7]).write(to: URL(filePath: file))
            #expect(try prepare() == image + [7])
            try Data([1, 2, 3]).write(to: URL(filePath: file))
            #expect(try prepare() == image)
        }

        @Test func `no driver, no device and no such device are told apart`() throws {
            let none = #expect(throws: CUDAError.self) { try GPU(folders: ["/nowhere"]) }
            #expect(none?.description.contains("there is no CUDA driver: libcuda.so.1") == true)
            EmulatedGPU.set(devices: 0)
            let empty = #expect(throws: CUDAError.self) { try card.gpu() }
            #expect(empty?.description.contains("no device") == true)
            EmulatedGPU.set(devices: nil)
            let wrong = #expect(throws: CUDAError.self) {
                try GPU(number: 3, folders: [card.folder])
            }
            #expect(wrong?.description.contains("there is no device cuda:3") == true)
        }
    }
}
