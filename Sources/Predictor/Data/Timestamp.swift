// SPDX-License-Identifier: Apache-2.0

/// Reads a point in time: whole or decimal seconds since 1970, or ISO 8601 in UTC (`2020-09-08`,
/// `2020-09-08T12:30:00Z`).
///
/// Never negative.
enum Timestamp {
    /// The last second of the year 9999; larger numbers are milliseconds in disguise.
    private static let latest: Int64 = 253_402_300_799

    /// Seconds since 1970, or what is wrong with the text.
    static func parse(_ bytes: [UInt8], _ range: Range<Int>) -> Result<Int64, Problem> {
        guard !range.isEmpty else { return .failure(Problem("empty timestamp")) }
        if bytes[range].contains(UInt8(ascii: "-")), bytes[range.lowerBound] != UInt8(ascii: "-") {
            return parseDate(bytes[range])
        }
        var seconds: Int64 = 0
        for (place, byte) in bytes[range].enumerated() {
            switch byte {
            case UInt8(ascii: "0")...UInt8(ascii: "9"):
                seconds = seconds * 10 + Int64(byte - UInt8(ascii: "0"))
                if seconds > latest {
                    return .failure(Problem("timestamp after the year 9999 (milliseconds?)"))
                }
            case UInt8(ascii: "-") where place == 0:
                return .failure(Problem("negative timestamp"))
            case UInt8(ascii: ".") where place > 0:
                let fraction = bytes[(range.lowerBound + place + 1)..<range.upperBound]
                let isNumber = fraction.allSatisfy { (48...57).contains($0) }
                return isNumber ? .success(seconds) : .failure(unreadable)
            default:
                return .failure(unreadable)
            }
        }
        return .success(seconds)
    }

    struct Problem: Error {
        let reason: String
        init(_ reason: String) { self.reason = reason }
    }

    private static let unreadable = Problem("timestamp is neither seconds nor ISO 8601")

    private static func parseDate(_ text: ArraySlice<UInt8>) -> Result<Int64, Problem> {
        var numbers: [Int64] = []
        var digits = 0
        var shape = ""
        for byte in text {
            if (48...57).contains(byte) {
                if digits == 0 { numbers.append(0) }
                numbers[numbers.count - 1] = numbers[numbers.count - 1] * 10 + Int64(byte - 48)
                digits += 1
                if digits > 9 { return .failure(unreadable) }
            } else {
                shape.unicodeScalars.append(Unicode.Scalar(byte))
                digits = 0
            }
        }
        let forms = ["--", "--T::", "--T::Z", "-- ::", "--T::.", "--T::.Z", "-- ::."]
        guard forms.contains(shape), numbers.count == 3 || numbers.count >= 6 else {
            return .failure(unreadable)
        }
        let (year, month, day) = (numbers[0], numbers[1], numbers[2])
        let clock = numbers.count >= 6 ? numbers[3...5].map { $0 } : [0, 0, 0]
        guard (1970...9999).contains(year), (1...12).contains(month),
            (1...days(in: month, of: year)).contains(day), clock[0] < 24, clock[1] < 60,
            clock[2] < 61
        else { return .failure(Problem("impossible date")) }
        return .success(
            daysSince1970(year, month, day) * 86_400 + clock[0] * 3_600 + clock[1] * 60 + clock[2]
        )
    }

    private static func days(in month: Int64, of year: Int64) -> Int64 {
        let isLeap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0)
        return [31, isLeap ? 29 : 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31][Int(month) - 1]
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
