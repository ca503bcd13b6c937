// SPDX-License-Identifier: Apache-2.0
private import CKernels
private import Executors
private import Glibc

/// rows × columns floats that layers compute in, row-major, on cache lines.
///
/// Threads write different rows of one at the same time; whoever starts them says which.
@safe final class RowBuffer: @unchecked Sendable {
    let columns: Int
    /// Rows in use.
    private(set) var rows: Int
    private var capacity: Int
    private(set) var start: UnsafeMutablePointer<Float>
    /// Whose rows these are, where they are not its own.
    private let owner: RowBuffer?

    /// Zeros.
    init(rows: Int = 0, columns: Int) {
        self.rows = rows
        self.columns = columns
        capacity = rows
        unsafe start = Self.allocate(rows * columns)
        owner = nil
    }

    /// Some rows of another, in the same memory: they cannot grow, and the other must not meanwhile.
    init(_ owner: RowBuffer, rows: Range<Int>) {
        precondition(rows.upperBound <= owner.rows, "rows that are there")
        self.rows = rows.count
        columns = owner.columns
        capacity = rows.count
        unsafe start = owner.row(rows.lowerBound)
        self.owner = owner
    }

    deinit { if owner == nil { unsafe start.deallocate() } }

    var count: Int { rows * columns }

    func row(_ row: Int) -> UnsafeMutablePointer<Float> { unsafe start + row * columns }

    /// What it holds is then undefined, where it had to grow.
    func resize(rows: Int) {
        if rows > capacity {
            precondition(owner == nil, "rows of another cannot grow")
            unsafe start.deallocate()
            // A little more: batches differ, and each growth costs fresh pages.
            capacity = capacity == 0 ? rows + rows / 8 : max(rows, capacity * 2)
            unsafe start = Self.allocate(capacity * columns)
        }
        self.rows = rows
    }

    func fill(_ values: [Float]) {
        precondition(values.count == count, "as many values as rows × columns")
        for (place, value) in values.enumerated() { unsafe start[place] = value }
    }

    func fill(_ next: () -> Float) {
        for place in 0..<count { unsafe start[place] = next() }
    }

    func clear() { unsafe start.update(repeating: 0, count: count) }

    /// self += other.
    func add(_ other: RowBuffer, threads: Int) {
        precondition(other.count == count, "as many rows and columns")
        parallelFor(rows, threads: threads, grain: 256) { rows, _ in
            let (to, from) = unsafe (row(rows.lowerBound), other.row(rows.lowerBound))
            for place in 0..<rows.count * columns { unsafe to[place] += from[place] }
        }
    }

    var values: [Float] { unsafe [Float](UnsafeBufferPointer(start: start, count: count)) }

    /// Whether all are numbers, and their squares too.
    var isFinite: Bool { unsafe larder_squares(start, count).isFinite }

    var matrix: Matrix { Matrix(rows: rows, columns: columns, values: values) }

    /// Zeros, on large pages where the system has them: rows are met at random, and small pages
    /// would miss in the processor's table of them.
    static func allocate(_ count: Int) -> UnsafeMutablePointer<Float> {
        let bytes = max(count, 1) * 4
        let large = 2 << 20
        let memory = UnsafeMutableRawPointer.allocate(
            byteCount: bytes,
            alignment: bytes >= large ? large : 64
        )
        if bytes >= large { unsafe madvise(memory, bytes, MADV_HUGEPAGE) }
        return unsafe memory.initializeMemory(as: Float.self, repeating: 0, count: max(count, 1))
    }
}
