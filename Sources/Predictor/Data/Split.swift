// SPDX-License-Identifier: Apache-2.0
import Tables

extension Split {
    /// The part of each event.
    func parts(_ events: GroupedEvents, _ space: SpoolSpace) throws(PredictorError) -> Spool<UInt8>
    {
        if case .column = self { return events.columns.parts }
        let parts = Spool<UInt8>(space)
        try parts.extend(to: events.items.count)
        switch self {
        case .column: break
        case .leaveLastOne(let validation):
            var user = -1
            var first = 0
            var end = 0
            func close() {
                if end - first >= 2 { parts[end - 1] = Part.test.rawValue }
                if validation, end - first >= 3 { parts[end - 2] = Part.validation.rawValue }
            }
            try events.forEachSequence { owner, _, range in
                if owner != user {
                    close()
                    user = owner
                    first = range.lowerBound
                }
                end = range.upperBound
            }
            close()
        case .time(let validation, let test):
            var latest = Int64.min
            for event in 0..<events.times.count { latest = max(latest, events.times[event]) }
            let testFrom = latest - Int64(test) * Timestamp.second
            let validationFrom = testFrom - Int64(validation) * Timestamp.second
            for event in 0..<events.times.count where events.times[event] > validationFrom {
                let part: Part = events.times[event] > testFrom ? .test : .validation
                parts[event] = part.rawValue
            }
        case .sequences(let validation, let test, let seed):
            let choice = Self.shuffled(events.sequenceLengths.count, validation, test, seed)
            try events.forEachSequence { _, sequence, range in
                for event in range { parts[event] = choice[sequence] }
            }
        case .users(let validation, let test, let seed):
            // Those of earlier datasets have no events, and no part in the shares.
            let users = (0..<events.userSequences.count).filter { events.userSequences[$0] > 0 }
            var choice = [UInt8](repeating: 0, count: events.userSequences.count)
            for (user, part) in zip(users, Self.shuffled(users.count, validation, test, seed)) {
                choice[user] = part
            }
            try events.forEachSequence { user, _, range in
                for event in range { parts[event] = choice[user] }
            }
        }
        return parts
    }

    /// Shares of `count` things, chosen by a shuffle.
    private static func shuffled(
        _ count: Int,
        _ validation: Double,
        _ test: Double,
        _ seed: Int
    ) -> [UInt8] {
        var parts = [UInt8](repeating: Part.train.rawValue, count: count)
        var generator = SeededGenerator(seed: seed)
        let order = (0..<count).shuffled(using: &generator)
        let trainEnd = Int(Double(count) * (1 - validation - test))
        let validationEnd = Int(Double(count) * (1 - test))
        for place in trainEnd..<max(trainEnd, count) {
            let part: Part = place < validationEnd ? .validation : .test
            parts[order[place]] = part.rawValue
        }
        return parts
    }
}
