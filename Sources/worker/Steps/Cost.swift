// SPDX-License-Identifier: Apache-2.0
import Foundation
import Glibc

/// What a piece of work took.
struct Cost: Codable, Sendable {
    /// From its beginning to its end.
    let seconds: Double
    /// Of all cores, by the worker's process; with other slots at work, by these too.
    let cpuSeconds: Double
    /// The worker's largest resident set meanwhile.
    let peakMiB: Double
}

/// Measures from where it is made.
struct CostMeter {
    private let start = ContinuousClock.now
    private let cpu = CostMeter.cpuSeconds

    init() { _ = ProcessMemory.forgetPeak() }

    var cost: Cost {
        Cost(
            seconds: (ContinuousClock.now - start) / .seconds(1),
            cpuSeconds: Self.cpuSeconds - cpu,
            peakMiB: ProcessMemory.peakMiB
        )
    }

    private static var cpuSeconds: Double {
        var usage = rusage()
        _ = unsafe getrusage(__rusage_who_t(RUSAGE_SELF.rawValue), &usage)
        return seconds(usage.ru_utime) + seconds(usage.ru_stime)
    }

    private static func seconds(_ time: timeval) -> Double {
        Double(time.tv_sec) + Double(time.tv_usec) / 1e6
    }
}
