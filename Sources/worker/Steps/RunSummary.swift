// SPDX-License-Identifier: Apache-2.0
import Foundation
import Jobs
import Predictor

/// A run that has ended, and how good its model is.
struct RunSummary: Encodable {
    let run: Runs.Run
    let jobs: [Runs.JobRow]
    let prepare: PrepareResult?
    /// Of the training that was measured.
    let train: TrainResult?
    /// Of the one that makes the lists.
    let refit: TrainResult?
    let check: CheckResult?
    let gate: GateResult?
    let publish: PublishResult?
    let hindsight: HindsightResult?
    /// Jobs that tell others of it.
    let announcements: [Runs.JobRow]

    /// How it was set; nil of another version of larder.
    let pipeline: Pipeline?

    /// The jobs whose results are read; shards are not among them, of which there may be many.
    private static let resultNames = [
        "prepare", "train", "select", "refit", "check", "gate", "publish", "hindsight",
    ]

    /// `mostJobs`: of those that began first.
    init(_ number: Int, _ services: Services, mostJobs: Int = 100_000) async throws {
        run = try await services.runs.run(number)
        jobs = try await services.runs.jobs(run: number, limit: mostJobs, withResults: false)
        let results = RunResults(
            try await services.runs.results(of: number, named: Self.resultNames)
        )
        do {
            pipeline = try await services.pipeline(of: number)
        } catch is PipelineError { pipeline = nil }
        // Absent where the run failed before: then there is nothing to show.
        prepare = try? results.get("prepare")
        // The training that was chosen, or the only one.
        train = (try? results.get("select")) ?? (try? results.get("train"))
        refit = try? results.get("refit")
        check = try? results.get("check")
        gate = try? results.get("gate")
        publish = try? results.get("publish")
        hindsight = try? results.get("hindsight")
        announcements = try await services.runs.announcements(of: number).jobs
    }

    private enum CodingKeys: CodingKey {
        case run, jobs, prepare, train, refit, check, gate, publish, hindsight,
            announcements
    }

    /// What was measured, by its kind.
    var model: String {
        pipeline?.model(ofArm: train?.arm?.number)?.kind ?? EvaluationReport.model
    }
}
