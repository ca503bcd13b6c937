// SPDX-License-Identifier: Apache-2.0

/// gensim's Word2Vec parameters, by gensim's names and with gensim's defaults.
package struct Prod2VecSettings: Sendable, Codable, Equatable {
    package var vectorSize = 100
    package var window = 5
    package var negative = 5
    package var nsExponent = 0.75
    /// Threshold of frequent-item subsampling; 0 turns it off.
    package var sample = 1e-3
    package var minCount = 5
    package var alpha = 0.025
    package var minAlpha = 0.0001
    package var epochs = 5
    /// False is CBOW with the mean of the window, which is what gensim does when nothing is said.
    package var skipGram = false
    package var seed = 1
    /// More than one thread trains without locks (hogwild): faster, and no longer bit for bit
    /// the same each time.
    package var threads = 1

    package init() {}
}
