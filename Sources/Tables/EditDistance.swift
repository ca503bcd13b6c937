// SPDX-License-Identifier: Apache-2.0

/// For "did you mean": the nearest of the words that exist.
package enum EditDistance {
    /// The candidate at the smallest distance, if that is below 4 and less than the word's length.
    package static func nearest(to word: String, in candidates: [String]) -> String? {
        let near = candidates.map { (distance(word, $0), $0) }.min { $0.0 < $1.0 }
        guard let (distance, candidate) = near, distance < 4, distance < word.count else {
            return nil
        }
        return candidate
    }

    /// Levenshtein: insertions, deletions and substitutions, by the two-row table.
    static func distance(_ a: String, _ b: String) -> Int {
        let target = Array(b)
        var row = Array(0...target.count)
        for (i, character) in a.enumerated() {
            var diagonal = row[0]
            row[0] = i + 1
            for (j, other) in target.enumerated() {
                let above = row[j + 1]
                row[j + 1] = min(above + 1, row[j] + 1, diagonal + (character == other ? 0 : 1))
                diagonal = above
            }
        }
        return row[target.count]
    }
}
