// SPDX-License-Identifier: Apache-2.0

/// The fields of one record, as places in the block it stands in.
@safe struct Fields: ~Copyable {
    private let starts: UnsafeMutablePointer<Int32>
    private let ends: UnsafeMutablePointer<Int32>
    private let capacity: Int
    /// May be more than are kept.
    private(set) var count = 0

    init(capacity: Int) {
        self.capacity = capacity
        unsafe starts = .allocate(capacity: max(1, capacity))
        unsafe ends = .allocate(capacity: max(1, capacity))
    }

    deinit {
        unsafe starts.deallocate()
        unsafe ends.deallocate()
    }

    mutating func removeAll() { count = 0 }

    @inline(__always)
    mutating func append(_ start: Int, _ end: Int) {
        if count < capacity {
            unsafe starts[count] = Int32(truncatingIfNeeded: start)
            unsafe ends[count] = Int32(truncatingIfNeeded: end)
        }
        count += 1
    }

    /// So many empty fields, for formats that name the fields they have.
    mutating func fill(_ count: Int) {
        precondition(count <= capacity)
        for place in 0..<count { set(place, 0, 0) }
        self.count = count
    }

    mutating func set(_ place: Int, _ start: Int, _ end: Int) {
        precondition(place < capacity)
        unsafe starts[place] = Int32(truncatingIfNeeded: start)
        unsafe ends[place] = Int32(truncatingIfNeeded: end)
    }

    @inline(__always)
    func range(_ place: Int) -> Range<Int> {
        precondition(place < min(count, capacity))
        return unsafe Int(starts[place])..<Int(ends[place])
    }
}

enum Scan {
    /// Fields hold a record that starts on the given line of the block, from 0.
    case record(line: Int)
    case bad(line: Int, reason: String)
    /// The bytes end inside a quoted field that starts on the given line.
    case openQuote(line: Int)
    case end
}

/// Finds records, and fields in them; may rewrite the bytes of a field where they stand.
protocol RecordScanner: Sendable {
    /// How many of the bytes are whole records; 0 if the first is not.
    func wholeRecords(in bytes: UnsafeRawBufferPointer) -> Int

    /// Reads the record at `position`, moves behind it, and counts its lines.
    func next(
        in bytes: UnsafeMutableRawBufferPointer,
        _ position: inout Int,
        _ line: inout Int,
        _ fields: inout Fields
    ) -> Scan
}
