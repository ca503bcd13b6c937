// SPDX-License-Identifier: Apache-2.0

/// Implicit ALS by the names and, where nothing is said, the defaults of the Python library implicit.
package struct ALSSettings: Sendable, Codable, Equatable {
    /// Numbers of a vector; implicit: 100.
    package var factors = 64
    package var regularization = 0.01
    /// How much an event counts: a user's r events of an item weigh 1 + alpha · r, all others 1.
    package var alpha = 1.0
    package var iterations = 15
    package var seed = 1
    /// The model is the same with any number.
    package var threads = 1

    package init() {}
}
