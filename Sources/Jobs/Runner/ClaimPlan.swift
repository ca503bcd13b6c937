// SPDX-License-Identifier: Apache-2.0

/// How many jobs to claim, and from which place on.
///
/// Long jobs are claimed one for each free slot, so that nothing waits behind one. Of short ones
/// a second's work is claimed at once, up to 500: more would only keep it from other workers.
package struct ClaimPlan: Sendable {
    static let largestBatch = 500
    /// Jobs that take longer are not claimed ahead.
    private static let longJob = 0.5

    private let slots: Int
    /// Exponentially weighted, in seconds; nil until a job has ended.
    private var meanSeconds: Double?
    private var lastBatch: Int
    /// Jobs before it were all taken a moment ago.
    package private(set) var watermark = QueuePlace.start
    private var lastScan: ContinuousClock.Instant = .now
    private var scanCost: Duration = .zero

    package init(slots: Int) {
        self.slots = slots
        lastBatch = slots
    }

    mutating func ended(after time: Duration) {
        let seconds = time / .seconds(1)
        meanSeconds = meanSeconds.map { 0.8 * $0 + 0.2 * seconds } ?? seconds
    }

    /// How many jobs should wait in this process for a slot: none while they are long, or not known
    /// to be short.
    var ahead: Int {
        guard let meanSeconds, meanSeconds < Self.longJob else { return 0 }
        let second = Double(slots) / max(meanSeconds, 1e-6)
        // Four times as many at most: the first few may have been the short ones.
        return min(Int(second), lastBatch * 4, Self.largestBatch)
    }

    /// `isBusyWithLong`: a slot has worked on one job for so long that others would wait behind it.
    func count(waiting: Int, freeSlots: Int, isBusyWithLong: Bool) -> Int {
        let ahead = isBusyWithLong ? 0 : ahead
        guard waiting <= ahead / 2 else { return 0 }
        return max(0, max(ahead, freeSlots) - waiting)
    }

    /// A batch came back, in order, that was asked for behind `start`; `took` is known for a claim
    /// alone.
    ///
    /// The watermark follows what was taken: under an old transaction the index keeps entries of jobs
    /// that are long gone, and every claim would walk over all of them. Once a second it goes back to
    /// the start, for urgent, retried and rescued jobs; where that walk has become long, less often,
    /// but at least every 5 s.
    package mutating func claimed(
        _ batch: [QueuePlace],
        behind start: QueuePlace,
        in took: Duration? = nil,
        at now: ContinuousClock.Instant = .now
    ) {
        if !batch.isEmpty { lastBatch = max(slots, batch.count) }
        // Reset while this claim was on its way: what it found says nothing about what is before.
        guard start == watermark else { return }
        if start == .start {
            lastScan = now
            if let took { scanCost = took }
        }
        if let first = batch.first { watermark = max(watermark, first.before) }
        if now - lastScan > min(.seconds(5), max(.seconds(1), scanCost * 100)) {
            watermark = .start
        }
    }

    /// Jobs before the watermark are known to have become ready.
    mutating func rescan() { watermark = .start }
}

/// A place in the order in which jobs are taken.
package struct QueuePlace: Sendable, Comparable {
    package let priority: Int
    package let id: Int

    /// Before all jobs.
    package static let start = QueuePlace(priority: Int(Int16.min), id: 0)

    package init(priority: Int, id: Int) {
        self.priority = priority
        self.id = id
    }

    /// The place right before it.
    var before: QueuePlace { QueuePlace(priority: priority, id: id - 1) }

    package static func < (one: QueuePlace, other: QueuePlace) -> Bool {
        (one.priority, one.id) < (other.priority, other.id)
    }
}
