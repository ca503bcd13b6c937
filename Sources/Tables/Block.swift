// SPDX-License-Identifier: Apache-2.0

/// Whole records of one file, a part of it that one thread works on; used again and again.
@safe final class Block: @unchecked Sendable {
    /// A quote that is never closed would otherwise read the rest of the file into one field.
    static let longestRecord = 1 << 20
    static let capacity = 2 * longestRecord

    let bytes = UnsafeMutableRawBufferPointer.allocate(byteCount: capacity, alignment: 64)
    /// How many of the bytes are records.
    var count = 0
    /// Its place among all blocks of all files.
    var ticket = 0
    /// The file it is from.
    var part: Part?

    // What a worker makes of it.
    var batch: Batch
    var lines = 0
    /// The line on which a quote is opened that the bytes do not close.
    var openQuote: Int?
    /// The ids, by vocabulary, that the worker had not met before in this generation.
    var newIDs: [StringTable]
    var generation = 0

    init(_ columns: [ColumnRequest] = []) {
        batch = Batch(columns: columns.count)
        newIDs = Array(repeating: StringTable(), count: columns.vocabularyCount)
    }

    deinit { unsafe bytes.deallocate() }

    /// One file of the table.
    final class Part: Sendable {
        let name: String
        /// The place of each requested column among the fields; nil for formats with named fields.
        let places: [Int]
        /// How many fields a record must have.
        let width: Int
        /// Lines before the first block.
        let headerLines: Int

        init(name: String, places: [Int], width: Int, headerLines: Int) {
            self.name = name
            self.places = places
            self.width = width
            self.headerLines = headerLines
        }
    }
}
