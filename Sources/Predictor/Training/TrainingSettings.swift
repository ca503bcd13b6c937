// SPDX-License-Identifier: Apache-2.0

/// How a network is trained, whichever it is.
package struct TrainingSettings: Sendable, Codable, Equatable {
    package var epochs = 10
    /// Examples of a step.
    package var batch = 4096
    package var seed = 1
    /// Steps between two looks at the validation part; 0: an epoch.
    package var validateEvery = 0
    /// Looks without a better one after which training ends; 0: never.
    package var patience = 3

    package init() {}
}
