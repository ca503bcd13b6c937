// SPDX-License-Identifier: Apache-2.0
import Foundation
import Jobs
import Predictor
import Transfer

/// Shows a run to a tracking server, from its start to its end: a job of its own that looks every
/// few seconds.
///
/// The run neither waits for it nor fails with it. A job that is killed, or one of a later attempt,
/// finds what the last has made by its tags.
struct TrackStep {
    private let services: Services
    private let job: Job
    private let context: JobContext

    init(_ services: Services, _ job: Job, _ context: JobContext) {
        self.services = services
        self.job = job
        self.context = context
    }

    private static let pause = Duration.seconds(3)
    /// Seconds after the end of its run in which it goes on trying.
    private static let patience = 3600.0
    /// Points after which it notes how far it came.
    private static let batch = 5000
    /// Seconds for a request: a server that hangs must not hold a slot for long, but in the end it has
    /// to take the card.
    private static let timeouts = (meanwhile: 5, atEnd: 20)

    /// What it leaves for its next look, and in the end.
    struct Progress: Codable {
        /// Where people look at it.
        var address: String
        var place: TrackedRun.Place
        /// Microseconds since 1970: what was measured until then is there.
        var until: Int
        /// What could not be handed over.
        var note: String?
    }

    /// An answer that may be another one in a minute.
    private struct Refusal: Error, CustomStringConvertible {
        let description: String
    }

    func run() async throws -> JobResult {
        let number = try AnnouncementArguments(of: job).run
        let (run, isOver) = try await state(of: number)
        do {
            let progress = try await push(run, isOver: isOver)
            // A run that was retried meanwhile has another end, which nobody else would show.
            let after = try await state(of: number)
            if isOver, after.isOver, after.run.seconds == run.seconds {
                return try JobResult(progress)
            }
            return .again(in: Self.pause)
        } catch let error as TransferError {
            guard case .unreachable = error else { throw Refusal(description: error.description) }
            let since = Date.now.timeIntervalSince1970 - (run.started + (run.seconds ?? 0))
            if run.state != "running", since > Self.patience {
                throw FatalJobError(
                    """
                    given up an hour after the end of run \(number): \(error)
                    hint: `larder jobs retry \(job.id)` sends it, when the server is there again
                    """
                )
            }
            throw ResourceJobError(error.description)
        }
    }

    /// Of a run that is over, the end was announced: what is seen of it then is the whole.
    private func state(of number: Int) async throws -> (run: Runs.Run, isOver: Bool) {
        let isAnnounced = try await !services.runs.announcements(of: number).isDue
        let run = try await services.runs.run(number)
        return (run, isAnnounced && run.state != "running")
    }

    private func push(_ run: Runs.Run, isOver: Bool) async throws -> Progress {
        let pipeline = try await services.pipeline(of: run.id)
        guard let track = pipeline.track else {
            throw FatalJobError("run \(run.id) asks for no tracking")
        }
        let before = job.checkpoint.flatMap {
            try? JSONDecoder().decode(Progress.self, from: Data($0.utf8))
        }
        let server = MLflow(
            track.mlflow,
            environment: ProcessInfo.processInfo.environment,
            timeout: isOver ? Self.timeouts.atEnd : Self.timeouts.meanwhile,
            check: { try context.checkStop() }
        )
        var tracked = try TrackedRun(
            run,
            pipeline,
            on: server,
            at: before?.place,
            in: track.experiment
        )
        var progress = Progress(
            address: tracked.address,
            place: tracked.place,
            until: before?.until ?? 0
        )
        try note(progress)
        let points = try await services.runs.points(
            of: run.id,
            since: progress.until,
            isOver: isOver
        )
        for start in stride(from: 0, to: points.count, by: Self.batch) {
            let some = points[start..<min(start + Self.batch, points.count)]
            try tracked.log(some)
            progress.until = some.last?.at ?? progress.until
            progress.place = tracked.place
            try note(progress)
        }
        if isOver {
            let card = try await Card(run.id, services)
            progress.note = try tracked.end(card.summary, card: card.page.description)
        }
        return progress
    }

    private func note(_ progress: Progress) throws {
        context.checkpoint(try JSON.text(progress))
    }
}

/// Of jobs that tell others of a run.
struct AnnouncementArguments: Decodable {
    let run: Int
    /// The place of a web-hook in `notify:`.
    var hook: Int?

    init(of job: Job) throws {
        do {
            self = try JSONDecoder().decode(Self.self, from: Data(job.args.utf8))
        } catch {
            throw FatalJobError("the arguments \(job.args) are not those of a \(job.kind) job")
        }
    }
}
