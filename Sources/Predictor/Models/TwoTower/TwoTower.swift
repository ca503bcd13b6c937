// SPDX-License-Identifier: Apache-2.0
// Two towers (Yi et al. 2019; NVIDIA Merlin's TwoTowerModelV2): what is known of a user and of an
// item, each through dense layers to a vector; trained to tell the item of an event from others.
private import Tables

package enum TwoTower {
    package static let kind = "two-tower"

    /// Trains on the events of the given parts, from the start or from the state in a folder.
    ///
    /// With validation events, those of later parts than were trained on, it ends with the weights
    /// that rank the whole catalogue best for them. `epochs`: train so long instead, as a refit does.
    /// `gpu`: where it learns, if it is usable and has room.
    /// `share`: of all steps, where it stops, to go on from its last state another time.
    /// `progress` is called after each step, `stop` while the validation part is ranked; either may
    /// throw to stop.
    package static func train(
        _ dataset: Dataset,
        on parts: Set<Part>,
        _ settings: TwoTowerSettings,
        epochs: Double? = nil,
        until share: Double = 1,
        from folder: String? = nil,
        gpu: GPU? = nil,
        progress: (TrainingProgress) throws -> Void = { _ in },
        stop: () throws -> Void = {}
    ) throws -> (model: RetrievalModel, outcome: TrainingOutcome) {
        let network = try TwoTowerNetwork(
            dataset,
            on: parts,
            settings,
            validates: epochs == nil && !parts.contains(.validation),
            on: gpu
        )
        let outcome = try TrainingLoop(
            network,
            dataset,
            .events(dataset.events(in: parts)),
            settings.training,
            epochs: epochs
        )
        .run(from: folder, until: share, progress: progress, stop: stop)
        return (try network.model(), outcome)
    }
}
