// SPDX-License-Identifier: Apache-2.0
private import CKernels

/// The two tables of word2vec: syn0 and syn1neg in gensim.
///
/// Read and written by several threads without locks, which is the point of hogwild (Niu et al.
/// 2011). Rows begin on cache lines, so that no two threads share one by accident.
@safe final class WordTables: @unchecked Sendable {
    enum Table { case input, output }

    let rows: Int
    private let size: Int
    /// Floats of a row, zeros beyond the vector's size.
    let stride: Int
    /// rows × stride each.
    let input: UnsafeMutablePointer<Float>
    let output: UnsafeMutablePointer<Float>

    init(rows: Int, _ settings: Prod2VecSettings) {
        self.rows = rows
        size = settings.vectorSize
        let padding = Int(LARDER_WORD2VEC_PADDING)
        stride = (size + padding - 1) / padding * padding
        unsafe input = RowBuffer.allocate(rows * stride)
        unsafe output = RowBuffer.allocate(rows * stride)
        // gensim: uniform in [-1, 1), divided by the vector size.
        var generator = SeededGenerator(seed: settings.seed)
        for row in 0..<rows {
            for place in 0..<size {
                unsafe input[row * stride + place] =
                    (generator.unitFloat() * 2 - 1) / Float(size)
            }
        }
    }

    deinit {
        unsafe input.deallocate()
        unsafe output.deallocate()
    }

    /// rows × vector size.
    func vectors(_ table: Table) -> [Float] {
        let start = unsafe table == .input ? input : output
        return unsafe [Float](unsafeUninitializedCapacity: rows * size) { values, count in
            for row in 0..<rows {
                for place in 0..<size {
                    unsafe values[row * size + place] = start[row * stride + place]
                }
            }
            count = rows * size
        }
    }

    func restore(_ state: Prod2Vec.State) throws(PredictorError) {
        guard state.input.count == rows * size, state.output.count == rows * size else {
            throw .input("the state is of \(state.input.count) values, the model of \(rows * size)")
        }
        for row in 0..<rows {
            for place in 0..<size {
                unsafe input[row * stride + place] = state.input[row * size + place]
                unsafe output[row * stride + place] = state.output[row * size + place]
            }
        }
    }
}
