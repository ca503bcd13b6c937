// SPDX-License-Identifier: Apache-2.0

/// One value an event in each column that is used, in some order of the events.
final class EventColumns: Sendable {
    /// Empty once events are grouped.
    let users: Spool<Int32>
    let items: Spool<Int32>
    /// Microseconds since 1970; empty when the source has no time.
    let times: Spool<Int64>
    /// Empty when sessions are no column, and once events are grouped.
    let sessions: Spool<Int32>
    /// `Part` as the source says; empty when it does not.
    let parts: Spool<UInt8>
    /// What each event is worth; empty when all are worth the same.
    let weights: Spool<Float>
    /// The texts that features are made of, as indices or -1.
    let codes: [Spool<Int32>]
    /// The numbers that features are made of.
    let numbers: [Spool<Float>]

    init(_ space: SpoolSpace, inputs: [InputColumn]) {
        users = Spool(space)
        items = Spool(space)
        times = Spool(space)
        sessions = Spool(space)
        parts = Spool(space)
        weights = Spool(space)
        codes = inputs.filter { !$0.isNumber }.map { _ in Spool(space) }
        numbers = inputs.filter(\.isNumber).map { _ in Spool(space) }
    }

    var count: Int { items.count }

    func time(_ event: Int) -> Int64 { times.count > 0 ? times[event] : 0 }

    /// Appends an event of columns of the same kind.
    @inline(__always)
    func append(_ event: Int, of other: EventColumns) throws(PredictorError) {
        try users.append(other.users[event])
        if other.sessions.count > 0 { try sessions.append(other.sessions[event]) }
        if other.times.count > 0 { try times.append(other.times[event]) }
        try appendGrouped(event, of: other)
    }

    /// Appends what is left of an event when its place says whose it is, but for its time.
    @inline(__always)
    func appendGrouped(_ event: Int, of other: EventColumns) throws(PredictorError) {
        try items.append(other.items[event])
        if other.parts.count > 0 { try parts.append(other.parts[event]) }
        if other.weights.count > 0 { try weights.append(other.weights[event]) }
        for place in codes.indices { try codes[place].append(other.codes[place][event]) }
        for place in numbers.indices { try numbers[place].append(other.numbers[place][event]) }
    }

    /// Appends all events of grouped columns.
    func append(contentsOf other: EventColumns) throws(PredictorError) {
        try items.append(contentsOf: other.items)
        try times.append(contentsOf: other.times)
        try parts.append(contentsOf: other.parts)
        try weights.append(contentsOf: other.weights)
        for place in codes.indices { try codes[place].append(contentsOf: other.codes[place]) }
        for place in numbers.indices { try numbers[place].append(contentsOf: other.numbers[place]) }
    }
}
