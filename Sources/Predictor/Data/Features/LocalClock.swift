// SPDX-License-Identifier: Apache-2.0
private import Foundation
import Tables

/// Time of day and day of the week where people live.
///
/// Remembers the last quarter of an hour's offset, for events near each other in time; zones change
/// their offset only at quarters.
final class LocalClock {
    private let zone: TimeZone
    private var quarter = Int64.min
    private var offset: Int64 = 0

    init(_ name: String) throws(PredictorError) {
        guard let zone = TimeZone(identifier: name) else {
            throw .input("\(name) is not a time zone", hint: "such as Europe/Rome, or UTC")
        }
        self.zone = zone
    }

    /// In [0, 1): how much of the day is over, or which share of the week the day is (Monday 0).
    func share(of part: Feature.TimePart, _ time: Int64) -> Double {
        let seconds = time / Timestamp.second
        if seconds / 900 != quarter {
            quarter = seconds / 900
            offset = Int64(
                zone.secondsFromGMT(for: Date(timeIntervalSince1970: Double(quarter * 900)))
            )
        }
        let local = seconds + offset
        let day: Int64 = 86_400
        return switch part {
        case .hour: Double((local % day + day) % day) / Double(day)
        // 1970-01-01 was a Thursday.
        case .weekday:
            Double(((local + 3 * day) / day % 7 + 7) % 7) / 7
        }
    }

    static func sine(_ share: Double) -> Float { Float(sin(2 * .pi * share)) }
    static func cosine(_ share: Double) -> Float { Float(cos(2 * .pi * share)) }
}
