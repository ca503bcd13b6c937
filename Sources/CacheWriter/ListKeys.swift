// SPDX-License-Identifier: Apache-2.0

/// Where the lists of a release stand: each under a key of its own or, compact, in a hash with some others.
///
/// Redis keeps a key, an entry of its table and an expiry for each key, and a small hash in one piece of
/// memory (a listpack): of sixteen lists that are not long that saves nearly half.
struct ListKeys: Sendable {
    /// How many lists a hash has, on average; of more, Redis would search through longer for each.
    private static let perBucket = 16

    /// How many hashes so many lists are divided among.
    static func buckets(for lists: Int) -> Int { max(1, lists / perBucket) }

    /// The key of a hash.
    static func bucket(_ number: Int, _ start: [UInt8]) -> [UInt8] {
        start + Array("_b:\(number)".utf8)
    }

    private let start: [UInt8]
    private let buckets: Int?

    /// `buckets`: nil where each list has its own key.
    init(_ keys: CacheKeys, release: Int, buckets: Int?) {
        start = keys.lists(release)
        self.buckets = buckets
    }

    /// A list's key, and its field where that is the key of a hash.
    struct Place: Hashable, Sendable {
        let key: [UInt8]
        let field: [UInt8]?

        /// `GET key` or `HGET key field`.
        func read(in buffer: inout RESPBuffer) {
            buffer.begin(field == nil ? 2 : 3)
            buffer.append(argument: (field == nil ? "GET" : "HGET").utf8)
            buffer.append(argument: key)
            if let field { buffer.append(argument: field) }
        }

        /// For people.
        var text: String {
            String(decoding: field.map { key + [UInt8(ascii: " ")] + $0 } ?? key, as: UTF8.self)
        }
    }

    func place(of id: some Collection<UInt8>) -> Place {
        guard let buckets else { return Place(key: ownKey(of: id), field: nil) }
        let bucket = (IDHash.of(id) * buckets) >> 32
        return Place(key: Self.bucket(bucket, start), field: Array(id))
    }

    /// Our own names start with an underscore; an id that does too gets another in front.
    private func ownKey(of id: some Collection<UInt8>) -> [UInt8] {
        var key = start
        key.reserveCapacity(start.count + id.count + 1)
        if id.first == UInt8(ascii: "_") { key.append(UInt8(ascii: "_")) }
        key.append(contentsOf: id)
        return key
    }

    func read(_ id: some Collection<UInt8>, in buffer: inout RESPBuffer) {
        place(of: id).read(in: &buffer)
    }

    /// One command of a list that has its own key, two of one in a hash, which expires as a whole.
    func write(
        _ id: some Collection<UInt8>,
        _ list: [UInt8],
        _ expiring: ExpiringSet,
        to buffer: inout RESPBuffer
    ) {
        let place = place(of: id)
        guard let field = place.field else {
            return expiring.append(place.key, list, to: &buffer)
        }
        buffer.begin(4)
        for argument in [Array("HSET".utf8), place.key, field, list] {
            buffer.append(argument: argument)
        }
        buffer.begin(3)
        for argument in [Array("EXPIRE".utf8), place.key, Array(expiring.seconds.utf8)] {
            buffer.append(argument: argument)
        }
    }
}
