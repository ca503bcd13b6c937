// SPDX-License-Identifier: Apache-2.0

/// The network of NVTabular's MovieLens example, by the names that its users know.
package struct RatingMLPSettings: Sendable, Codable, Equatable {
    /// Which events are liked, by a number of events; nil: all are, and others are drawn.
    package var label: Condition?
    /// Items drawn for each event as not liked, where there is no label.
    package var negatives = 4
    /// Floats of each embedding; nil: NVTabular's rule, by how many there are.
    package var embedding: Int?
    /// Outputs of each dense layer, before the one with the answer.
    package var layers = [128, 128, 128]
    package var dropout = 0.0
    package var optimiser = OptimiserSettings()
    package var training = TrainingSettings()
    /// Of the last bits only: any number learns the same.
    package var threads = 1

    package init() {}
}

extension RatingMLPSettings {
    var style: EntityInput.Style {
        .normal { [embedding] codes in embedding ?? Schema.width(cardinality: codes) }
    }
}
