// SPDX-License-Identifier: Apache-2.0

/// Where the lists of a release stand.
struct ListKeys: Sendable {
    private let start: [UInt8]
    private let layout: ListLayout
    /// The key of the list for ids that have none.
    let defaultList: String
    /// The set of the keys of segments' and categories' lists.
    let fallbacks: String

    init(_ keys: CacheKeys, release: Int, _ layout: ListLayout) {
        let start = keys.lists(layout == .inPlace ? ListLayout.shared : String(release))
        defaultList = start + "_default"
        fallbacks = start + "_fallbacks"
        self.start = Array(start.utf8)
        self.layout = layout
    }

    /// The key of the list of a segment or a category.
    func fallback(_ source: Lookup.Source, _ value: String) -> String {
        String(decoding: start, as: UTF8.self) + "_\(source.rawValue):\(value)"
    }

    /// The key of a hash.
    func bucket(_ number: Int) -> [UInt8] { start + Array("_b:\(number)".utf8) }

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
        switch layout {
        case .keys, .inPlace: return Place(key: ownKey(of: id), field: nil)
        case .buckets(let count):
            return Place(key: bucket((IDHash.of(id) * count) >> 32), field: Array(id))
        }
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
