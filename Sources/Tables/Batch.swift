// SPDX-License-Identifier: Apache-2.0

/// A column that is wanted of a table, and as what.
package struct ColumnRequest: Sendable {
    package enum Kind: Sendable {
        /// Indices into a vocabulary, by its number; columns may share one. Empty is a bad row.
        case id(vocabulary: Int)
        /// The same, but empty is -1.
        case category(vocabulary: Int)
        /// Microseconds since 1970. Empty is a bad row.
        case time
        /// Empty and "nan" are NaN.
        case number
    }

    package let name: String
    package let kind: Kind

    package init(_ name: String, _ kind: Kind) {
        self.name = name
        self.kind = kind
    }
}

/// Rows of a table, in its order: one array for each requested column, the others empty.
package struct Batch {
    package struct Column {
        package fileprivate(set) var codes: [Int32] = []
        package fileprivate(set) var times: [Int64] = []
        package fileprivate(set) var numbers: [Float] = []
    }

    package private(set) var columns: [Column]
    package private(set) var count = 0
    /// Rows that are not here, because something is wrong with them.
    package private(set) var badRows = 0
    /// The file that they are from.
    package internal(set) var source = ""
    /// The first few of them, in words.
    package internal(set) var examples: [BadRow] = []

    package struct BadRow: Sendable {
        package internal(set) var line: Int
        package let reason: String
    }

    init(columns: Int) { self.columns = Array(repeating: Column(), count: columns) }

    mutating func removeAll() {
        for place in columns.indices {
            columns[place].codes.removeAll(keepingCapacity: true)
            columns[place].times.removeAll(keepingCapacity: true)
            columns[place].numbers.removeAll(keepingCapacity: true)
        }
        count = 0
        badRows = 0
        examples = []
    }

    @inline(__always)
    mutating func append(code: Int32, to place: Int) { columns[place].codes.append(code) }
    @inline(__always)
    mutating func append(time: Int64, to place: Int) { columns[place].times.append(time) }
    @inline(__always)
    mutating func append(number: Float, to place: Int) { columns[place].numbers.append(number) }

    mutating func endRow() { count += 1 }

    /// Takes back what was appended of the row at hand.
    mutating func dropRow(line: Int, _ reason: String) {
        for place in columns.indices {
            if columns[place].codes.count > count { columns[place].codes.removeLast() }
            if columns[place].times.count > count { columns[place].times.removeLast() }
            if columns[place].numbers.count > count { columns[place].numbers.removeLast() }
        }
        badRows += 1
        if examples.count < 10 { examples.append(BadRow(line: line, reason: reason)) }
    }

    /// Replaces a worker's own codes by those of all.
    mutating func translate(_ place: Int, by table: [Int32]) {
        for row in columns[place].codes.indices {
            let code = columns[place].codes[row]
            if code >= 0 { columns[place].codes[row] = table[Int(code)] }
        }
    }
}
