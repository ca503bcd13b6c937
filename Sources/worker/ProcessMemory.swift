// SPDX-License-Identifier: Apache-2.0
import Foundation

enum ProcessMemory {
    /// The largest resident set so far, mapped files included.
    static var peakMiB: Double { mebibytes("VmHWM:") }

    /// Measures the peak from here on; returns what is resident now.
    static func forgetPeak() -> Double {
        try? "5".write(toFile: "/proc/self/clear_refs", atomically: false, encoding: .utf8)
        return mebibytes("VmRSS:")
    }

    private static func mebibytes(_ key: String) -> Double {
        let status = (try? String(contentsOfFile: "/proc/self/status", encoding: .utf8)) ?? ""
        let line = status.split(separator: "\n").first { $0.hasPrefix(key) }
        let kibibytes = line?.split(separator: " ").dropLast().last.flatMap { Double($0) }
        return (kibibytes ?? 0) / 1024
    }
}
