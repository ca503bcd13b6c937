// SPDX-License-Identifier: Apache-2.0

/// Reads a point in time: seconds since 1970, whole or decimal; milli-, micro- or nanoseconds when
/// the number would be after the year 9999 otherwise; or ISO 8601 (`2020-09-08`,
/// `2020-09-08T12:30:00.5+02:00`), UTC where no zone is given.
///
/// Never negative.
package enum Timestamp {
    /// Microseconds of a second.
    package static let second: Int64 = 1_000_000
    /// The last second of the year 9999.
    private static let latest: Int64 = 253_402_300_799

    /// Microseconds since 1970, or what is wrong with the text.
    package static func parse(_ text: RawSpan) -> Result<Int64, Problem> {
        unsafe text.withUnsafeBytes { unsafe parse($0) }
    }

    package static func parse(_ text: String) -> Result<Int64, Problem> {
        var text = text
        return text.withUTF8 { unsafe parse(UnsafeRawBufferPointer($0)) }
    }

    package struct Problem: Error {
        package let reason: String
        init(_ reason: String) { self.reason = reason }
    }

    private static let empty = Problem("empty timestamp")
    private static let negative = Problem("negative timestamp")
    private static let unreadable = Problem("timestamp is neither seconds nor ISO 8601")
    private static let late = Problem("timestamp after the year 9999")
    private static let impossible = Problem("impossible date")

    private static func parse(_ text: UnsafeRawBufferPointer) -> Result<Int64, Problem> {
        guard text.count > 0 else { return .failure(empty) }
        var number: Int64 = 0
        var at = 0
        while at < text.count, unsafe text[at].isDigit {
            let (tens, isOver) = number.multipliedReportingOverflow(by: 10)
            let (sum, isOverToo) = unsafe tens.addingReportingOverflow(Int64(text[at] - 48))
            if isOver || isOverToo { return .failure(late) }
            number = sum
            at += 1
        }
        if at == text.count { return scaled(number) }
        let byte = unsafe text[at]
        if byte == UInt8(ascii: "-") { return unsafe at == 0 ? .failure(negative) : date(text) }
        guard byte == UInt8(ascii: "."), at > 0 else { return .failure(unreadable) }
        at += 1
        guard let fraction = unsafe microseconds(text, &at), at == text.count else {
            return .failure(unreadable)
        }
        // Of a fraction of a millisecond nothing is wanted.
        return number > latest ? scaled(number) : .success(number * second + fraction)
    }

    private static func scaled(_ number: Int64) -> Result<Int64, Problem> {
        if number <= latest { return .success(number * second) }
        if number / 1_000 <= latest { return .success(number * 1_000) }
        if number / 1_000_000 <= latest { return .success(number) }
        return .success(number / 1_000)
    }

    /// Digits behind a point, as microseconds; nil if there are none.
    private static func microseconds(_ text: UnsafeRawBufferPointer, _ at: inout Int) -> Int64? {
        let start = at
        var value: Int64 = 0
        while at < text.count, unsafe text[at].isDigit {
            if at - start < 6 { value = unsafe value * 10 + Int64(text[at] - 48) }
            at += 1
        }
        guard at > start else { return nil }
        for _ in min(at - start, 6)..<6 { value *= 10 }
        return value
    }

    // MARK: ISO 8601

    private static func date(_ text: UnsafeRawBufferPointer) -> Result<Int64, Problem> {
        var at = 0
        func digits(_ count: Int) -> Int64? {
            guard at + count <= text.count else { return nil }
            var value: Int64 = 0
            for place in at..<at + count {
                guard unsafe text[place].isDigit else { return nil }
                value = unsafe value * 10 + Int64(text[place] - 48)
            }
            at += count
            return value
        }
        func take(_ bytes: StaticString) -> Bool {
            guard at < text.count else { return false }
            let isOne = unsafe UnsafeBufferPointer(
                start: bytes.utf8Start,
                count: bytes.utf8CodeUnitCount
            ).contains(text[at])
            if isOne { at += 1 }
            return isOne
        }
        guard let year = digits(4), take("-"), let month = digits(2), take("-"),
            let day = digits(2)
        else { return .failure(unreadable) }
        guard (1970...9999).contains(year), (1...12).contains(month),
            (1...days(in: month, of: year)).contains(day)
        else { return .failure(impossible) }
        var seconds = daysSince1970(year, month, day) * 86_400
        if at == text.count { return .success(seconds * second) }
        guard take("T "), let hour = digits(2), take(":"), let minute = digits(2) else {
            return .failure(unreadable)
        }
        var clock = (hour, minute, Int64(0))
        var fraction: Int64 = 0
        if take(":") {
            guard let value = digits(2) else { return .failure(unreadable) }
            clock.2 = value
            if take(".") {
                guard let value = unsafe microseconds(text, &at) else {
                    return .failure(unreadable)
                }
                fraction = value
            }
        }
        guard clock.0 < 24, clock.1 < 60, clock.2 < 61 else { return .failure(impossible) }
        seconds += clock.0 * 3_600 + clock.1 * 60 + clock.2
        if !take("Z"), at < text.count {
            let isEast = unsafe text[at] == UInt8(ascii: "+")
            guard take("+-"), let hours = digits(2) else { return .failure(unreadable) }
            _ = take(":")
            let minutes = at < text.count ? digits(2) : 0
            guard let minutes, hours <= 15, minutes < 60 else { return .failure(unreadable) }
            seconds += (isEast ? -1 : 1) * (hours * 3_600 + minutes * 60)
        }
        guard at == text.count else { return .failure(unreadable) }
        return seconds < 0 ? .failure(negative) : .success(seconds * second + fraction)
    }

    private static func days(in month: Int64, of year: Int64) -> Int64 {
        let isLeap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0)
        return switch month {
        case 2: isLeap ? 29 : 28
        case 4, 6, 9, 11: 30
        default: 31
        }
    }

    /// Howard Hinnant, "chrono-Compatible Low-Level Date Algorithms", days_from_civil.
    private static func daysSince1970(_ year: Int64, _ month: Int64, _ day: Int64) -> Int64 {
        let y = month <= 2 ? year - 1 : year
        let era = y / 400
        let yearOfEra = y - era * 400
        let dayOfYear = (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1
        let dayOfEra = yearOfEra * 365 + yearOfEra / 4 - yearOfEra / 100 + dayOfYear
        return era * 146_097 + dayOfEra - 719_468
    }
}

extension UInt8 {
    var isDigit: Bool { self &- 48 < 10 }
}
