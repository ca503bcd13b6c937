// SPDX-License-Identifier: Apache-2.0

/// Lists of a release on their way to Redis, formatted as they will be sent: one piece of memory for all
/// of them.
package struct ListBatch: Sendable {
    private(set) var commands = RESPBuffer()
    package private(set) var count = 0
    private let set: ExpiringSet
    private let keys: ListKeys
    private var value: [UInt8] = []

    init(_ keys: ListKeys, expire: Duration) {
        set = ExpiringSet(expire)
        self.keys = keys
    }

    /// How many lists are written at a time: a few MiB, so that memory stays flat and a cancel is obeyed soon.
    ///
    /// Of those that are paced no more than a fiftieth of a second's: readers come in between.
    package static func size(rate: Int?) -> Int {
        rate.map { min(4096, max(1, $0 / 50)) } ?? 4096
    }

    /// Adds the list of an id, as it is to stand in Redis.
    package mutating func append(_ id: some Collection<UInt8>, _ list: [UInt8]) {
        keys.write(id, list, set, to: &commands)
        count += 1
    }

    /// Counts a list that stands in Redis already.
    mutating func skip() { count += 1 }

    /// Adds the list of an id; `scores`: one of each item.
    package mutating func append(
        _ id: ArraySlice<UInt8>,
        _ items: [Int32],
        scores: [Float],
        as encoder: ListEncoder
    ) {
        value.removeAll(keepingCapacity: true)
        encoder.encode(items, scores: scores, into: &value)
        append(id, value)
    }
}
