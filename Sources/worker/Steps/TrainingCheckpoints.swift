// SPDX-License-Identifier: Apache-2.0
import Artifacts
import Foundation
import Jobs
import Predictor

/// States of a training, kept once a minute and when the worker drains, so that the next attempt
/// goes on from the last one, on whichever worker has the same artifact folder.
struct TrainingCheckpoints {
    private static let interval: Duration = .seconds(60)

    private let input: StepInput
    private let about: TrainStep.About
    private var lastSave = ContinuousClock.now
    /// Oldest first.
    ///
    /// The last but one stays until the last is known to Postgres.
    private var kept: [String] = []
    /// The state of a training that stops on its way, an artifact.
    private(set) var paused: String?

    private struct Place: Codable {
        let checkpoint: String
    }

    init(_ input: StepInput, _ about: TrainStep.About) {
        self.input = input
        self.about = about
    }

    /// The folder of the state that an earlier attempt had come to, or else of the one given; nil
    /// where there is none, or it cannot be used.
    mutating func last(or given: String? = nil) throws -> String? {
        if let json = input.job.checkpoint,
            let place = try? JSONDecoder().decode(Place.self, from: Data(json.utf8)),
            let folder = try folder(place.checkpoint)
        {
            kept = [place.checkpoint]
            return folder
        }
        return try given.flatMap { try folder($0) }
    }

    private func folder(_ checkpoint: String) throws -> String? {
        guard let artifact = try? input.services.artifacts.get(kind: "checkpoint", checkpoint),
            // Of another dataset or model it would be worse than nothing.
            try artifact.manifest(TrainStep.About.self) == about
        else { return nil }
        return artifact.folder
    }

    /// Keeps the state of a training that stops here, to go on in another job; of any other when it is
    /// due.
    ///
    /// `write` gets a folder for the state's files.
    mutating func keep(pausing: Bool, _ write: (String) throws -> Void) throws {
        if pausing {
            paused = try input.services.artifacts.add(kind: "checkpoint", about: about, write).id
        } else {
            try saveIfDue(write)
        }
    }

    private mutating func saveIfDue(_ write: (String) throws -> Void) throws {
        let age = ContinuousClock.now - lastSave
        // Given back soon: what was learned in the last second is cheap to learn again.
        let isLeaving = input.context.stop == .draining && age > .seconds(1)
        guard age > Self.interval || isLeaving else { return }
        let artifact = try input.services.artifacts.add(
            kind: "checkpoint",
            about: about,
            write
        )
        lastSave = .now
        input.context.checkpoint(try JSON.text(Place(checkpoint: artifact.id)))
        if kept.last != artifact.id { kept.append(artifact.id) }
        while kept.count > 2 {
            remove(kept.removeFirst())
        }
    }

    /// The training is done, and its model kept.
    func remove() {
        kept.filter { $0 != paused }.forEach(remove)
    }

    private func remove(_ id: String) {
        // What stays costs room, and is no reason to fail a training.
        try? input.services.artifacts.remove(kind: "checkpoint", id)
    }
}
