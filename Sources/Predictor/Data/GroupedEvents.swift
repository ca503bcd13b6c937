// SPDX-License-Identifier: Apache-2.0
import Executors
import Synchronization
import Tables

/// Events by user, each user's sequences in the order of their first events, each sequence by time.
final class GroupedEvents: Sendable {
    let columns: EventColumns
    /// Events in each sequence; none is empty.
    let sequenceLengths: Spool<Int32>
    /// Sequences of each user.
    let userSequences: Spool<Int32>

    init(_ space: SpoolSpace, inputs: [InputColumn]) {
        columns = EventColumns(space, inputs: inputs)
        sequenceLengths = Spool(space)
        userSequences = Spool(space)
    }

    var count: Int { columns.count }
    var items: Spool<Int32> { columns.items }
    var times: Spool<Int64> { columns.times }

    /// Appends events of later users.
    func append(_ other: GroupedEvents) throws(PredictorError) {
        try columns.append(contentsOf: other.columns)
        try sequenceLengths.append(contentsOf: other.sequenceLengths)
        try userSequences.append(contentsOf: other.userSequences)
    }

    /// Calls `body` with each sequence: its user, its number, and its events.
    @inline(__always)
    func forEachSequence(
        _ body: (_ user: Int, _ sequence: Int, _ events: Range<Int>) throws(PredictorError) -> Void
    ) throws(PredictorError) {
        var sequence = 0
        var event = 0
        for user in 0..<userSequences.count {
            for _ in 0..<userSequences[user] {
                let end = event + Int(sequenceLengths[sequence])
                try body(user, sequence, event..<end)
                event = end
                sequence += 1
            }
        }
    }

    /// Appends to `kept` only those events of each sequence that `choose` returns; users stay, though
    /// some may have none any more.
    func filter(
        into kept: GroupedEvents,
        _ choose: (_ user: Int, _ events: Range<Int>) -> some Sequence<Int>
    ) throws(PredictorError) {
        try kept.userSequences.extend(to: userSequences.count)
        try forEachSequence { user, _, events throws(PredictorError) in
            var length: Int32 = 0
            for event in choose(user, events) {
                try kept.columns.appendGrouped(event, of: columns)
                try kept.times.append(times[event])
                length += 1
            }
            guard length > 0 else { return }
            try kept.sequenceLengths.append(length)
            kept.userSequences[user] += 1
        }
    }
}

/// Brings events into the order of `GroupedEvents`, a range of users at a time, so that only so
/// many events need to be in memory.
struct EventGrouper {
    let sessions: DatasetSettings.Sessions.Boundary
    let duplicates: Keep.Duplicates
    /// Events older than this are left out, in microseconds.
    let earliest: Int64
    /// Events that are ordered at once.
    let mostAtOnce: Int
    let threads: Int
    let inputs: [InputColumn]

    func group(
        _ events: EventColumns,
        userCount: Int,
        _ space: SpoolSpace
    ) throws(PredictorError) -> (GroupedEvents, duplicates: Int, old: Int) {
        var counts = [Int](repeating: 0, count: userCount)
        var old = 0
        for event in 0..<events.count {
            if events.time(event) < earliest {
                old += 1
            } else {
                counts[Int(events.users[event])] += 1
            }
        }
        let grouped = GroupedEvents(space, inputs: inputs)
        var dropped = 0
        let ranges = split(0..<userCount, counts, events: mostAtOnce)
        if ranges.count == 1 && old == 0 {
            dropped = try order(events, ranges[0], counts, into: grouped, space)
        } else {
            var rangeOf = [Int32](repeating: 0, count: userCount)
            for (place, range) in ranges.enumerated() {
                for user in range { rangeOf[user] = Int32(place) }
            }
            let shares = ranges.map { _ in EventColumns(space, inputs: inputs) }
            for event in 0..<events.count where events.time(event) >= earliest {
                let share = shares[Int(rangeOf[Int(events.users[event])])]
                try share.append(event, of: events)
            }
            for (share, range) in zip(shares, ranges) {
                dropped += try order(share, range, counts, into: grouped, space)
            }
        }
        return (grouped, dropped, old)
    }

    /// Ranges of users with at most so many events; a user with more is alone.
    private func split(_ users: Range<Int>, _ counts: [Int], events most: Int) -> [Range<Int>] {
        var ranges: [Range<Int>] = []
        var start = users.lowerBound
        var total = 0
        for user in users {
            if total + counts[user] > most && user > start {
                ranges.append(start..<user)
                start = user
                total = 0
            }
            total += counts[user]
        }
        ranges.append(start..<users.upperBound)
        return ranges
    }

    /// Orders the events of some users, of which the columns hold no others that are this old, on
    /// several threads.
    private func order(
        _ events: EventColumns,
        _ users: Range<Int>,
        _ counts: [Int],
        into grouped: GroupedEvents,
        _ space: SpoolSpace
    ) throws(PredictorError) -> Int {
        // Not so many pieces that their chunks are mostly empty.
        let ranges = split(users, counts, events: max(1 << 18, events.count / threads + 1))
        let pieces = ranges.map { _ in GroupedEvents(space, inputs: inputs) }
        let dropped = Mutex(0)
        do {
            try concurrently(ranges.count) { place in
                let count = try order(events, ranges[place], counts, into: pieces[place])
                dropped.withLock { $0 += count }
            }
        } catch {
            throw error as? PredictorError ?? .file("ordering events", "\(error)")
        }
        for piece in pieces { try grouped.append(piece) }
        return dropped.withLock { $0 }
    }

    /// Returns how many duplicates were left out.
    private func order(
        _ events: EventColumns,
        _ users: Range<Int>,
        _ counts: [Int],
        into grouped: GroupedEvents
    ) throws(PredictorError) -> Int {
        // A stable counting sort by user.
        var ends = [Int](repeating: 0, count: users.count)
        var total = 0
        for user in users {
            ends[user - users.lowerBound] = total
            total += counts[user]
        }
        var rows = [Int32](repeating: 0, count: total)
        for event in 0..<events.count {
            let user = Int(events.users[event]) - users.lowerBound
            guard user >= 0 && user < users.count else { continue }
            rows[ends[user]] = Int32(event)
            ends[user] += 1
        }
        var dropped = 0
        var lengths: [Int32] = []
        for user in users {
            let end = ends[user - users.lowerBound]
            let range = end - counts[user]..<end
            sortByTime(&rows, range, events)
            let kept = removeDuplicates(&rows, range, events)
            dropped += range.count - kept.count
            arrange(&rows, kept, events, &lengths)
            for row in rows[kept] {
                let event = Int(row)
                try grouped.columns.appendGrouped(event, of: events)
                try grouped.times.append(events.time(event))
            }
            try grouped.sequenceLengths.append(contentsOf: lengths)
            try grouped.userSequences.append(Int32(lengths.count))
        }
        return dropped
    }

    /// Ties stay in the order of the source.
    private func sortByTime(_ rows: inout [Int32], _ range: Range<Int>, _ events: EventColumns) {
        guard events.times.count > 0, range.count > 1 else { return }
        var isSorted = true
        var before = events.times[Int(rows[range.lowerBound])]
        for place in range.dropFirst() {
            let time = events.times[Int(rows[place])]
            if time < before {
                isSorted = false
                break
            }
            before = time
        }
        if isSorted { return }
        rows[range].sort {
            let (a, b) = (events.times[Int($0)], events.times[Int($1)])
            return a != b ? a < b : $0 < $1
        }
    }

    /// Moves what is kept to the front of the range, and returns where it is.
    private func removeDuplicates(
        _ rows: inout [Int32],
        _ range: Range<Int>,
        _ events: EventColumns
    ) -> Range<Int> {
        guard duplicates != .all, range.count > 1 else { return range }
        var seen: Set<Int32> = []
        if duplicates == .first {
            var write = range.lowerBound
            for place in range where seen.insert(events.items[Int(rows[place])]).inserted {
                rows[write] = rows[place]
                write += 1
            }
            return range.lowerBound..<write
        }
        var write = range.upperBound
        for place in range.reversed() where seen.insert(events.items[Int(rows[place])]).inserted {
            write -= 1
            rows[write] = rows[place]
        }
        return write..<range.upperBound
    }

    /// Brings one user's events into the order of sequences, and says how long each is.
    private func arrange(
        _ rows: inout [Int32],
        _ range: Range<Int>,
        _ events: EventColumns,
        _ lengths: inout [Int32]
    ) {
        lengths.removeAll(keepingCapacity: true)
        guard !range.isEmpty else { return }
        switch sessions {
        case .users:
            lengths.append(Int32(range.count))
        case .gap(let seconds):
            let longest = Int64(seconds) * Timestamp.second
            var before = Int64.min / 2
            for place in range {
                let time = events.time(Int(rows[place]))
                if time - before > longest { lengths.append(0) }
                lengths[lengths.count - 1] += 1
                before = time
            }
        case .column:
            var numbers: [Int32: Int] = [:]
            var sequences: [[Int32]] = []
            for row in rows[range] {
                let session = events.sessions[Int(row)]
                if let number = numbers[session] {
                    sequences[number].append(row)
                } else {
                    numbers[session] = sequences.count
                    sequences.append([row])
                }
            }
            var place = range.lowerBound
            for sequence in sequences {
                lengths.append(Int32(sequence.count))
                for row in sequence {
                    rows[place] = row
                    place += 1
                }
            }
        }
    }
}
