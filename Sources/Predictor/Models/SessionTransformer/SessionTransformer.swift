// SPDX-License-Identifier: Apache-2.0
// The item that comes next in a session, by a transformer: XLNet's layers (Yang et al. 2019) with
// masked items, as Transformers4Rec has them (de Souza Pereira Moreira et al. 2021), or with each
// item found from those before it, as in SASRec (Kang and McAuley 2018).
private import Tables

package enum SessionTransformer {
    package static let kind = "session-transformer"

    /// Trains on the sequences of the given parts' events, from the start or from the state in a
    /// folder.
    ///
    /// With validation events, those of later parts than were trained on, it ends with the weights
    /// that rank the whole catalogue best for them. `epochs`: train so long instead, as a refit does;
    /// over windows each has as many as the settings say, and is measured before it is learned from.
    /// `after`: a model whose training over windows goes on, with sessions that began later.
    /// `gpu`: where it learns, if it is usable and has room.
    /// `share`: of all steps, where it stops, to go on another time; windows go to their end.
    /// `progress` is called after each step, `stop` while the validation part is ranked; either may
    /// throw to stop.
    package static func train(
        _ dataset: Dataset,
        on parts: Set<Part>,
        _ settings: SessionTransformerSettings,
        epochs: Double? = nil,
        until share: Double = 1,
        after base: SessionBase? = nil,
        from folder: String? = nil,
        gpu: GPU? = nil,
        progress: (TrainingProgress) throws -> Void = { _ in },
        stop: () throws -> Void = {}
    ) throws -> (model: SessionModel, outcome: TrainingOutcome) {
        let learner = try SessionLearner(
            dataset,
            on: parts,
            settings,
            // Windows are measured on the next one instead.
            validates: epochs == nil && !parts.contains(.validation) && settings.windows == nil,
            on: gpu
        )
        let sequences = dataset.sequences(in: parts, ofAtLeast: 2)
        guard !sequences.isEmpty || base != nil else {
            throw PredictorError.input(
                "no session has two events to learn from: nothing comes after anything",
                hint: "see `dataset: sessions:`, or bring more events"
            )
        }
        let outcome: TrainingOutcome
        if let seconds = settings.windows {
            if let base { try learner.begin(from: base) }
            outcome = try SessionWindows(
                dataset,
                on: parts,
                settings,
                of: seconds,
                after: base?.progress.until,
                learner
            )
            .run(from: folder, progress: progress, stop: stop)
        } else {
            outcome = try TrainingLoop(
                learner,
                dataset,
                examples(sequences, settings, parts),
                settings.training,
                epochs: epochs
            )
            .run(from: folder, until: share, progress: progress, stop: stop)
        }
        return (learner.model(), outcome)
    }

    static func examples(
        _ sequences: [Int32],
        _ settings: SessionTransformerSettings,
        _ parts: Set<Part>
    ) -> BatchLoader.Examples {
        // The last item of one that is read causally is not read, but found.
        let more = settings.masking == .causal ? 1 : 0
        return .sequences(sequences, last: settings.length + more, of: parts)
    }
}
