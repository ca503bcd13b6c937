// SPDX-License-Identifier: Apache-2.0
private import COpenBLAS

/// A matrix in memory as OpenBLAS wants it: row-major, `stride` floats from row to row.
@safe struct MatrixView {
    let start: UnsafeMutablePointer<Float>
    let rows: Int
    let columns: Int
    let stride: Int
    private(set) var isTransposed = false

    /// To be multiplied as if it lay the other way.
    var transposed: MatrixView {
        var view = self
        view.isTransposed = true
        return view
    }

    init(_ start: UnsafeMutablePointer<Float>, rows: Int, columns: Int, stride: Int) {
        unsafe self.start = start
        self.rows = rows
        self.columns = columns
        self.stride = stride
    }

    /// Some rows of a buffer, from a column on.
    init(_ buffer: RowBuffer, rows: Range<Int>, columns: Range<Int>? = nil) {
        let columns = columns ?? 0..<buffer.columns
        unsafe self.init(
            buffer.row(rows.lowerBound) + columns.lowerBound,
            rows: rows.count,
            columns: columns.count,
            stride: buffer.columns
        )
    }
}

enum BLAS {
    /// Larder's threads are its own, one slot a core: a second level of threads under each would
    /// only fight for the same cores, and would change the last bits of every sum.
    private static let oneThread: Void = openblas_set_num_threads(1)

    /// c = scale · a · b + (c, if `adds`); on this thread.
    static func multiply(
        _ a: MatrixView,
        _ b: MatrixView,
        scale: Float = 1,
        adds: Bool = false,
        into c: MatrixView
    ) {
        _ = oneThread
        let (rows, depth) = a.isTransposed ? (a.columns, a.rows) : (a.rows, a.columns)
        let (depthOfB, columns) = b.isTransposed ? (b.columns, b.rows) : (b.rows, b.columns)
        precondition(
            depth == depthOfB && rows == c.rows && columns == c.columns,
            "shapes that do not fit: \(rows) × \(depth), \(depthOfB) × \(columns)"
        )
        guard rows > 0, columns > 0 else { return }
        unsafe cblas_sgemm(
            CblasRowMajor,
            a.isTransposed ? CblasTrans : CblasNoTrans,
            b.isTransposed ? CblasTrans : CblasNoTrans,
            Int32(rows),
            Int32(columns),
            Int32(depth),
            scale,
            a.start,
            Int32(a.stride),
            b.start,
            Int32(b.stride),
            adds ? 1 : 0,
            c.start,
            Int32(c.stride)
        )
    }

    /// upper half of gram += rowsᵀ · rows; rows: count × size, row-major.
    static func addGram(of rows: [Float], count: Int, size: Int, to gram: inout [Float]) {
        _ = oneThread
        precondition(rows.count >= count * size && gram.count == size * size, "shapes that fit")
        unsafe cblas_ssyrk(
            CblasRowMajor,
            CblasUpper,
            CblasTrans,
            Int32(size),
            Int32(count),
            1,
            rows,
            Int32(size),
            1,
            &gram,
            Int32(size)
        )
    }

    /// Solves a · x = b for a positive definite a, of which the upper half counts and is lost;
    /// false where it is not positive definite.
    static func solve(_ a: inout [Float], _ b: inout [Float]) -> Bool {
        _ = oneThread
        precondition(a.count == b.count * b.count, "as many equations as unknowns")
        var n = Int32(b.count)
        var one: Int32 = 1
        var info: Int32 = 0
        // Row by row the upper half is what LAPACK, column by column, calls the lower one.
        unsafe sposv_("L", &n, &one, &a, &n, &b, &n, &info)
        return info == 0
    }
}
