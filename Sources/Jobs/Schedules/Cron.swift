// SPDX-License-Identifier: Apache-2.0
package import Foundation

/// When something is due: minute, hour, day of month, month and day of week, as in crontab(5),
/// on the clocks of one time zone.
///
/// Lists, ranges, steps, names of months and days, and `@hourly` to `@yearly`. A day matches when
/// either of the two day fields does, where both are restricted.
///
/// Where clocks change: a time that is skipped is due at the end of the gap, once; a time that
/// comes twice is due the first time. With `*` as the hour the expression means an interval, which
/// goes on through both.
package struct Cron: Sendable, Equatable {
    private let minutes: [Int]
    private let hours: [Int]
    private let days: Set<Int>
    private let months: Set<Int>
    private let weekdays: Set<Int>
    private let restrictsDays: Bool
    private let restrictsWeekdays: Bool
    private let isInterval: Bool
    package let zone: TimeZone

    package struct Malformed: Error, CustomStringConvertible {
        package let description: String
    }

    private static let shorthands = [
        "@hourly": "0 * * * *", "@daily": "0 0 * * *", "@midnight": "0 0 * * *",
        "@weekly": "0 0 * * 0", "@monthly": "0 0 1 * *", "@yearly": "0 0 1 1 *",
        "@annually": "0 0 1 1 *",
    ]

    package init(_ text: String, zone name: String = "UTC") throws(Malformed) {
        // "UTC+3" and the like would be taken for GMT offsets by Foundation: not what is meant.
        guard let zone = TimeZone(identifier: name), name == "UTC" || name.contains("/") else {
            throw Malformed(
                description:
                    "there is no time zone \"\(name)\"\nhint: use IANA names, like Europe/Rome"
            )
        }
        self.zone = zone
        let expression = Self.shorthands[text.trimmingCharacters(in: .whitespaces)] ?? text
        let fields = expression.split(whereSeparator: \.isWhitespace).map { String($0) }
        guard fields.count == 5 else {
            throw Malformed(
                description: """
                    "\(text)" has \(fields.count) fields, not 5
                    hint: minute hour day-of-month month day-of-week, like "0 3 * * *"
                    """
            )
        }
        minutes = try Field(name: "minute", range: 0...59).parse(fields[0], of: text).sorted()
        hours = try Field(name: "hour", range: 0...23).parse(fields[1], of: text).sorted()
        days = try Field(name: "day of month", range: 1...31).parse(fields[2], of: text)
        months = try Field(
            name: "month",
            range: 1...12,
            names: [
                "jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec",
            ]
        ).parse(fields[3], of: text)
        // 7 is Sunday too.
        weekdays = Set(
            try Field(
                name: "day of week",
                range: 0...7,
                names: ["sun", "mon", "tue", "wed", "thu", "fri", "sat"]
            ).parse(fields[4], of: text).map { $0 % 7 }
        )
        isInterval = fields[1].hasPrefix("*")
        restrictsDays = !fields[2].hasPrefix("*")
        restrictsWeekdays = !fields[4].hasPrefix("*")
        guard next(after: Date(timeIntervalSince1970: 0)) != nil else {
            throw Malformed(description: "\"\(text)\" is never due: no month has such a day")
        }
    }

    /// Five fields or a shorthand, and perhaps a time zone: `0 3 * * *  Europe/Rome`.
    package init(parsing text: String) throws(Malformed) {
        let (expression, zone) = Self.split(text)
        try self.init(expression, zone: zone)
    }

    /// The expression and the zone of `0 3 * * *  Europe/Rome`.
    package static func split(_ text: String) -> (expression: String, zone: String) {
        let words = text.split(whereSeparator: \.isWhitespace)
        let length = words.first?.hasPrefix("@") == true ? 1 : 5
        guard words.count == length + 1, let zone = words.last else { return (text, "UTC") }
        return (words.dropLast().joined(separator: " "), String(zone))
    }

    /// The first due time after `date`.
    package func next(after date: Date) -> Date? {
        let after = Int(date.timeIntervalSince1970.rounded(.down))
        let firstDay = Self.day(of: after + offset(after)) - 1
        // The rarest date, 29 February, is up to eight years away.
        for day in firstDay...(firstDay + 366 * 9) where matches(day) {
            if let due = first(on: day, after: after) {
                return Date(timeIntervalSince1970: Double(due))
            }
        }
        return nil
    }

    /// The last due time at or before `date` but not before `first`, which is one itself.
    package func last(from first: Date, to date: Date) -> Date {
        var last = first
        while let due = next(after: last), due <= date { last = due }
        return last
    }

    private func matches(_ day: Int) -> Bool {
        let (_, month, dayOfMonth) = Self.civil(day)
        guard months.contains(month) else { return false }
        // 1970-01-01 was a Thursday.
        let isWeekday = weekdays.contains(((day + 4) % 7 + 7) % 7)
        let isDay = days.contains(dayOfMonth)
        return restrictsDays && restrictsWeekdays ? isDay || isWeekday : isDay && isWeekday
    }

    private func first(on day: Int, after: Int) -> Int? {
        let midnight = day * 86_400
        // Clocks change once at most in so short a time.
        let before = offset(midnight - 86_400)
        let later = offset(midnight + 2 * 86_400)
        var best: Int?
        for hour in hours {
            for minute in minutes {
                let local = midnight + hour * 3600 + minute * 60
                if local - min(before, later) <= after { continue }
                if let best, local - max(before, later) > best { return best }
                for due in instants(local, before, later) where due > after {
                    best = min(best ?? due, due)
                }
            }
        }
        return best
    }

    /// When clocks show the local time: once, twice, or, in a gap, at its end.
    private func instants(_ local: Int, _ before: Int, _ later: Int) -> [Int] {
        if before == later { return [local - before] }
        let found = [local - before, local - later].filter { offset($0) == local - $0 }.sorted()
        switch found.count {
        case 2: return isInterval ? found : [found[0]]
        case 1: return found
        default: return isInterval ? [] : [change(between: local - 90_000, and: local + 90_000)]
        }
    }

    /// The instant at which the zone's offset changes.
    private func change(between low: Int, and high: Int) -> Int {
        var (low, high) = (low, high)
        let first = offset(low)
        while high - low > 1 {
            let middle = (low + high) / 2
            if offset(middle) == first { low = middle } else { high = middle }
        }
        return high
    }

    private func offset(_ instant: Int) -> Int {
        zone.secondsFromGMT(for: Date(timeIntervalSince1970: Double(instant)))
    }

    private static func day(of seconds: Int) -> Int {
        seconds >= 0 ? seconds / 86_400 : (seconds - 86_399) / 86_400
    }

    /// Year, month and day of a number of days since 1970-01-01 (Hinnant, chrono-compatible
    /// low-level date algorithms, civil_from_days).
    private static func civil(_ days: Int) -> (Int, Int, Int) {
        let shifted = days + 719_468
        let era = (shifted >= 0 ? shifted : shifted - 146_096) / 146_097
        let dayOfEra = shifted - era * 146_097
        let yearOfEra =
            (dayOfEra - dayOfEra / 1460 + dayOfEra / 36_524 - dayOfEra / 146_096) / 365
        let dayOfYear = dayOfEra - (365 * yearOfEra + yearOfEra / 4 - yearOfEra / 100)
        let shiftedMonth = (5 * dayOfYear + 2) / 153
        let month = shiftedMonth < 10 ? shiftedMonth + 3 : shiftedMonth - 9
        let year = yearOfEra + era * 400 + (month <= 2 ? 1 : 0)
        return (year, month, dayOfYear - (153 * shiftedMonth + 2) / 5 + 1)
    }

    /// One of the five fields.
    private struct Field {
        let name: String
        let range: ClosedRange<Int>
        var names: [String] = []

        func parse(_ field: String, of text: String) throws(Malformed) -> Set<Int> {
            var values: Set<Int> = []
            for part in field.split(separator: ",", omittingEmptySubsequences: false) {
                let halves = part.split(separator: "/", omittingEmptySubsequences: false)
                guard halves.count <= 2 else { throw wrong(String(part), text) }
                var step = 1
                if halves.count == 2 {
                    guard let given = Int(halves[1]), given > 0 else {
                        throw wrong(String(part), text)
                    }
                    step = given
                }
                let (low, high) = try bounds(String(halves[0]), halves.count == 2, text)
                values.formUnion(stride(from: low, through: high, by: step))
            }
            return values
        }

        private func bounds(
            _ part: String,
            _ hasStep: Bool,
            _ text: String
        ) throws(Malformed) -> (Int, Int) {
            if part == "*" { return (range.lowerBound, range.upperBound) }
            let ends = part.split(separator: "-", omittingEmptySubsequences: false)
            guard let first = ends.first, let low = number(String(first)), ends.count <= 2 else {
                throw wrong(part, text)
            }
            guard ends.count == 2 else { return (low, hasStep ? range.upperBound : low) }
            guard let high = number(String(ends[1])), high >= low else { throw wrong(part, text) }
            return (low, high)
        }

        private func number(_ word: String) -> Int? {
            if let place = names.firstIndex(of: word.lowercased()) { return place + namesStart }
            guard let value = Int(word), range.contains(value) else { return nil }
            return value
        }

        /// January is 1, Sunday is 0.
        private var namesStart: Int { names.count == 12 ? 1 : 0 }

        private func wrong(_ part: String, _ text: String) -> Malformed {
            Malformed(
                description: """
                    "\(part)" in the \(name) field of "\(text)" is not from \(range.lowerBound) \
                    to \(range.upperBound)\(names.isEmpty ? "" : ", nor \(names[0]) to \(names.last ?? "")")
                    hint: numbers, lists 1,2, ranges 1-5 and steps */15
                    """
            )
        }
    }
}
