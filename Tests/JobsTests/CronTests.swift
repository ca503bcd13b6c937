// SPDX-License-Identifier: Apache-2.0
import Foundation
import Testing

@testable import Jobs

struct CronTests {
    private static func date(_ text: String) throws -> Date {
        try Date(text, strategy: .iso8601)
    }

    private func times(_ text: String, _ zone: String, after: String, _ count: Int) throws
        -> [String]
    {
        let cron = try Cron(text, zone: zone)
        var date = try Self.date(after)
        return try (0..<count).map { _ in
            date = try #require(cron.next(after: date))
            return date.formatted(.iso8601)
        }
    }

    @Test(arguments: [
        ("0 3 * * *", "2026-03-01T03:00:00Z", ["2026-03-02T03:00:00Z"]),
        (
            "*/20 9-10 * * mon-fri", "2026-11-20T10:20:00Z",
            ["2026-11-20T10:40:00Z", "2026-11-23T09:00:00Z"]
        ),
        ("0 0 29 2 *", "2026-01-01T00:00:00Z", ["2028-02-29T00:00:00Z", "2032-02-29T00:00:00Z"]),
        // Both day fields restricted: either of them.
        ("0 0 13 * fri", "2026-11-01T00:00:00Z", ["2026-11-06T00:00:00Z", "2026-11-13T00:00:00Z"]),
        (
            "5,10 0 1 jan,JUL 7", "2026-06-30T00:00:00Z",
            ["2026-07-01T00:05:00Z", "2026-07-01T00:10:00Z", "2026-07-05T00:05:00Z"]
        ),
        ("@weekly", "2026-11-21T00:00:00Z", ["2026-11-22T00:00:00Z"]),
        ("59 23 31 12 *", "2026-12-31T23:59:00Z", ["2027-12-31T23:59:00Z"]),
        (
            "10/25 * * * *", "2026-01-01T00:00:00Z",
            ["2026-01-01T00:10:00Z", "2026-01-01T00:35:00Z", "2026-01-01T01:10:00Z"]
        ),
    ])
    func `due times are those of crontab`(_ text: String, _ after: String, _ due: [String]) throws {
        #expect(try times(text, "UTC", after: after, due.count) == due)
    }

    /// Clocks in Rome went from 02:00 to 03:00 on 2026-03-29 and from 03:00 to 02:00 on 2026-10-25;
    /// in New York on 2026-03-08 and 2026-11-01.
    @Test(arguments: [
        (
            "30 2 * * *", "Europe/Rome", "2026-03-28T02:00:00Z",
            ["2026-03-29T01:00:00Z", "2026-03-30T00:30:00Z"]
        ),
        (
            "30 2 * * *", "Europe/Rome", "2026-10-24T10:00:00Z",
            ["2026-10-25T00:30:00Z", "2026-10-26T01:30:00Z"]
        ),
        (
            "0 3 * * *", "Europe/Rome", "2026-03-28T12:00:00Z",
            ["2026-03-29T01:00:00Z", "2026-03-30T01:00:00Z"]
        ),
        (
            "15,45 2 * * *", "America/New_York", "2026-03-08T00:00:00Z",
            ["2026-03-08T07:00:00Z", "2026-03-09T06:15:00Z"]
        ),
        (
            "30 1 * * *", "America/New_York", "2026-10-31T12:00:00Z",
            ["2026-11-01T05:30:00Z", "2026-11-02T06:30:00Z"]
        ),
        // An interval goes on through both.
        (
            "30 * * * *", "Europe/Rome", "2026-03-29T00:00:00Z",
            ["2026-03-29T00:30:00Z", "2026-03-29T01:30:00Z"]
        ),
        (
            "0 * * * *", "America/New_York", "2026-11-01T04:30:00Z",
            ["2026-11-01T05:00:00Z", "2026-11-01T06:00:00Z", "2026-11-01T07:00:00Z"]
        ),
    ])
    func `clocks that change`(_ text: String, _ zone: String, _ after: String, _ due: [String])
        throws
    {
        #expect(try times(text, zone, after: after, due.count) == due)
    }

    /// Walks minute by minute with Foundation's calendar.
    private struct Reference {
        let fields: [Set<Int>]
        let restricted: (days: Bool, weekdays: Bool)
        let isInterval: Bool
        let calendar: Calendar

        func matches(_ local: Date, _ utc: Calendar) -> Bool {
            let parts = utc.dateComponents([.minute, .hour, .day, .month, .weekday], from: local)
            guard let minute = parts.minute, let hour = parts.hour, let day = parts.day,
                let month = parts.month, let weekday = parts.weekday
            else { return false }
            let isDay = fields[2].contains(day)
            let isWeekday = fields[4].contains(weekday - 1)
            let dayMatches =
                restricted.days && restricted.weekdays ? isDay || isWeekday : isDay && isWeekday
            return fields[0].contains(minute) && fields[1].contains(hour)
                && fields[3].contains(month) && dayMatches
        }

        func due(from start: Date, minutes: Int) -> [Date] {
            var utc = Calendar(identifier: .gregorian)
            utc.timeZone = TimeZone(secondsFromGMT: 0) ?? .gmt
            var seen: Set<Date> = []
            var found: [Date] = []
            var previous: Date?
            for minute in 0..<minutes {
                let instant = start + Double(minute * 60)
                let local = instant + Double(calendar.timeZone.secondsFromGMT(for: instant))
                var isDue = matches(local, utc) && (isInterval || !seen.contains(local))
                if !isInterval, let previous, local > previous + 60 {
                    // What clocks skipped is due now.
                    var skipped = previous + 60
                    while skipped < local {
                        isDue = isDue || matches(skipped, utc)
                        skipped += 60
                    }
                }
                seen.insert(local)
                previous = local
                if isDue, minute > 0 { found.append(instant) }
            }
            return found
        }
    }

    @Test(arguments: 0..<60)
    func `a minute-by-minute walk finds the same`(_ seed: Int) throws {
        var state = UInt64(seed) &* 0x9E37_79B9_7F4A_7C15 &+ 1
        func random(_ bound: Int) -> Int {
            state ^= state << 13
            state ^= state >> 7
            state ^= state << 17
            return Int(state % UInt64(bound))
        }
        func field(_ range: ClosedRange<Int>, star: Int) -> (String, Set<Int>) {
            if random(10) < star { return ("*", Set(range)) }
            let picked = (0...random(3)).map { _ in range.lowerBound + random(range.count) }
            return (picked.map { String($0) }.joined(separator: ","), Set(picked))
        }
        let zone = ["Europe/Rome", "America/New_York", "Australia/Lord_Howe", "UTC"][seed % 4]
        let start = [
            "2026-03-28T20:00:00Z", "2026-10-24T20:00:00Z", "2026-03-07T20:00:00Z",
            "2026-10-31T20:00:00Z", "2026-04-04T06:00:00Z", "2026-10-03T06:00:00Z",
        ][random(6)]
        let fields = [
            field(0...59, star: 1), field(0...23, star: 3), field(1...31, star: 8),
            field(1...12, star: 9), field(0...6, star: 8),
        ]
        let text = fields.map(\.0).joined(separator: " ")
        let cron = try Cron(text, zone: zone)
        var calendar = Calendar(identifier: .gregorian)
        calendar.timeZone = cron.zone
        let reference = Reference(
            fields: fields.map(\.1),
            restricted: (fields[2].0 != "*", fields[4].0 != "*"),
            isInterval: fields[1].0 == "*",
            calendar: calendar
        )
        let first = try Self.date(start)
        let length = 4 * 1440
        var found: [Date] = []
        var date = first
        while let next = cron.next(after: date), next < first + Double(length * 60) {
            found.append(next)
            date = next
        }
        #expect(found == reference.due(from: first, minutes: length), "\(text) in \(zone)")
    }

    @Test(arguments: [
        ("61 * * * *", "\"61\" in the minute field"), ("* * * *", "4 fields"),
        ("* 5-3 * * *", "\"5-3\" in the hour field"), ("*/0 * * * *", "\"*/0\""),
        ("0 0 * foo *", "\"foo\" in the month field"), ("0 0 30 2 *", "never due"),
        ("", "0 fields"), ("1,,2 * * * *", "\"\" in the minute field"),
    ])
    func `what cannot be read is told with its field`(_ text: String, _ words: String) {
        let error = #expect(throws: Cron.Malformed.self) { try Cron(text) }
        #expect(error?.description.contains(words) == true)
    }

    @Test func `a zone that is none is refused`() throws {
        for zone in ["Europe/Roma", "CEST2", "", "GMT+2"] {
            #expect(throws: Cron.Malformed.self) { try Cron("0 3 * * *", zone: zone) }
        }
        #expect(try Cron(parsing: "0 3 * * *  Europe/Rome").zone.identifier == "Europe/Rome")
        #expect(try Cron(parsing: "@daily").zone.secondsFromGMT() == 0)
    }

    // MARK: misfires

    private func steps(_ misfire: Queue.Misfire, due: String?, now: String) throws -> [String] {
        Queue.steps(
            try Cron("0 * * * *"),
            misfire,
            due: try due.map { try Self.date($0) },
            now: try Self.date(now)
        ).map { step in
            func hour(_ date: Date) -> String {
                String(date.formatted(.iso8601).dropFirst(11).prefix(5))
            }
            return (step.from.map(hour) ?? "-") + " to " + hour(step.to)
                + (step.fires ? " fires" : "")
        }
    }

    @Test func `what was missed is skipped, made up for once, or each time`() throws {
        let on = "2026-01-01T05:00:20Z"
        let late = "2026-01-01T05:10:00Z"
        for misfire in Queue.Misfire.allCases {
            #expect(
                try steps(misfire, due: "2026-01-01T05:00:00Z", now: on) == ["05:00 to 06:00 fires"]
            )
            #expect(try steps(misfire, due: nil, now: on) == ["- to 06:00"])
        }
        #expect(try steps(.skip, due: "2026-01-01T05:00:00Z", now: late) == ["05:00 to 06:00"])
        #expect(
            try steps(.coalesce, due: "2026-01-01T02:00:00Z", now: late) == ["02:00 to 06:00 fires"]
        )
        #expect(try steps(.skip, due: "2026-01-01T02:00:00Z", now: late) == ["02:00 to 06:00"])
        // Hours late, but the last one is on time.
        #expect(
            try steps(.skip, due: "2026-01-01T02:00:00Z", now: on)
                == ["02:00 to 05:00", "05:00 to 06:00 fires"]
        )
        #expect(
            try steps(.catchUp, due: "2026-01-01T02:00:00Z", now: late)
                == [
                    "02:00 to 03:00 fires", "03:00 to 04:00 fires", "04:00 to 05:00 fires",
                    "05:00 to 06:00 fires",
                ]
        )
    }
}
