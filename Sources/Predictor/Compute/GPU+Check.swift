// SPDX-License-Identifier: Apache-2.0
import CUDA

extension GPU {
    /// Compiles all kernels, and has them compute something that a processor computes too: what is wrong
    /// with a card, its driver or the kernels is known before anything is made with them.
    package func prepare() throws {
        try checkTopK()
        do {
            try device.use { try LayerCheck(DeviceLayers(self)).run() }
        } catch let error as CUDAError where error.isOfProducts {
            // Lists are made on it all the same.
            failed(error)
        }
    }

    private func checkTopK() throws {
        var generator = SeededGenerator(seed: 1)
        func random(_ rows: Int) -> Matrix {
            let values = (0..<rows * 20).map { _ in generator.unitFloat() * 2 - 1 }
            return Matrix(rows: rows, columns: 20, values: values)
        }
        let (queries, items) = (random(130), random(1000))
        let excluded = (0..<queries.rows).map { query in
            (0..<Int32(items.rows)).filter { ($0 + Int32(query)) % 7 == 0 }
        }
        let index = try TopKIndex(items, on: self)
        func lists(_ pass: TopKIndex.Pass) throws -> TopKLists {
            try index.search(queries, k: 15, excluded: excluded, pass: pass)
        }
        guard try lists(.gpu) == lists(.float32) else { throw CUDAError.wrong(kernel: "topk") }
    }
}
