// SPDX-License-Identifier: Apache-2.0
import Foundation
import Glibc

/// What commands print: JSON for machines, tables for people.
enum Output {
    static func json(_ value: some Encodable) throws {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
        print(String(decoding: try encoder.encode(value), as: UTF8.self))
    }

    /// Columns as wide as their widest cell; numbers are the caller's to format.
    static func table(_ header: [String], _ rows: [[String]]) {
        let widths = header.indices.map { column in
            ([header] + rows).map { $0[column].count }.max() ?? 0
        }
        for row in [header] + rows {
            let line = zip(row, widths).map {
                $0.padding(toLength: $1, withPad: " ", startingAt: 0)
            }
            .joined(separator: "  ")
            print(line.replacing(/\ +$/, with: ""))
        }
    }

    static var isTerminal: Bool { isatty(STDOUT_FILENO) == 1 }

    static func seconds(_ value: Double?) -> String {
        guard let value else { return "" }
        return value < 100
            ? String(format: "%.1f s", value)
            : String(
                format: "%d:%02d:%02d",
                Int(value) / 3600,
                Int(value) / 60 % 60,
                Int(value) % 60
            )
    }

    static func bytes(_ value: Int) -> String {
        let units = ["B", "KiB", "MiB", "GiB"]
        var number = Double(value)
        var unit = 0
        while number >= 1024 && unit < units.count - 1 {
            number /= 1024
            unit += 1
        }
        return unit == 0 ? "\(value) B" : String(format: "%.1f %@", number, units[unit])
    }

    /// 1234567 as 1,234,567.
    static func count(_ value: Int) -> String {
        var text = String(abs(value))
        var place = text.count - 3
        while place > 0 {
            text.insert(",", at: text.index(text.startIndex, offsetBy: place))
            place -= 3
        }
        return (value < 0 ? "-" : "") + text
    }
}
