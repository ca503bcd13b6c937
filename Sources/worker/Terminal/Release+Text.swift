// SPDX-License-Identifier: Apache-2.0
import CacheWriter
import Foundation
import Jobs

extension Releases.Release {
    /// How its lists differ from those of the release before.
    var churnWords: String {
        guard let changedLists, let newItems else { return "" }
        return String(format: "%.0f %%, %.1f items", changedLists * 100, newItems)
    }

    /// The share of ids that read it, with the arms of a split.
    func readers(_ split: Split?) -> String {
        let isLive = state == "live"
        guard let split else { return isLive ? "all" : "" }
        let total = split.arms.reduce(0) { $0 + $1.share }
        return split.arms.filter { $0.release.map { $0 == number } ?? isLive }
            .map { "\($0.name) \($0.share * 100 / total) %" }.joined(separator: ", ")
    }
}
