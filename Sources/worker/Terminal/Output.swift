// SPDX-License-Identifier: Apache-2.0
import Foundation
import Glibc
import UnixSignals

/// What commands print: JSON for machines, tables for people.
enum Output {
    static func json(_ value: some Encodable) throws { print(try JSON.text(value)) }

    /// Prints what `body` says: once, or every second until a signal comes.
    ///
    /// A terminal is redrawn; elsewhere only what has changed is printed again.
    static func show(
        follow: Bool,
        _ body: @escaping @Sendable () async throws -> String
    ) async throws {
        guard follow else { return print(try await body()) }
        try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask {
                for await _ in await UnixSignalsSequence(trapping: .sigint, .sigterm) { return }
            }
            group.addTask {
                var last = ""
                while !Task.isCancelled {
                    let text = try await body()
                    if isTerminal {
                        print("\u{1B}[H\u{1B}[2J" + text)
                    } else if text != last {
                        print(text)
                    }
                    fflush(nil)
                    last = text
                    try? await Task.sleep(for: .seconds(1))
                }
            }
            try await group.next()
            group.cancelAll()
        }
    }

    /// Columns as wide as their widest cell; numbers are the caller's to format.
    static func table(_ header: [String], _ rows: [[String]]) { print(tableText(header, rows)) }

    static func tableText(_ header: [String], _ rows: [[String]]) -> String {
        let widths = header.indices.map { column in
            ([header] + rows).map { $0[column].count }.max() ?? 0
        }
        return ([header] + rows).map { row in
            zip(row, widths).map { $0.padding(toLength: $1, withPad: " ", startingAt: 0) }
                .joined(separator: "  ").replacing(/\ +$/, with: "")
        }
        .joined(separator: "\n")
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
