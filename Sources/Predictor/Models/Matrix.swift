// SPDX-License-Identifier: Apache-2.0

/// rows × columns floats, row-major.
package struct Matrix: Sendable, Equatable {
    package let rows: Int
    package let columns: Int
    package var values: [Float]

    package init(rows: Int, columns: Int, values: [Float]) {
        precondition(values.count == rows * columns, "a matrix needs rows × columns values")
        self.rows = rows
        self.columns = columns
        self.values = values
    }

    package subscript(row row: Int) -> ArraySlice<Float> {
        values[row * columns..<(row + 1) * columns]
    }

    /// Divides each row by its Euclidean length; rows of zeros stay zeros.
    mutating func normaliseRows() {
        for row in 0..<rows {
            let range = row * columns..<(row + 1) * columns
            var sum: Float = 0
            for place in range { sum += values[place] * values[place] }
            guard sum > 0 else { continue }
            let scale = 1 / sum.squareRoot()
            for place in range { values[place] *= scale }
        }
    }
}
