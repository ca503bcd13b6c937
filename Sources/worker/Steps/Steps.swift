// SPDX-License-Identifier: Apache-2.0
import Artifacts
import Foundation
import Jobs
import Predictor

/// Runs jobs by their kind.
///
/// Each step reads artifacts and results of earlier jobs, and writes artifacts and lists; any of
/// them can be killed and run again with the same outcome.
struct Steps: JobHandler {
    let services: Services

    /// Kinds that can be enqueued alone; the others are planned as parts of a run.
    static let standalone = ["run"]

    func run(_ job: Job, _ context: JobContext) async throws -> JobResult {
        do {
            if job.kind == "run" { return try await StartRunStep(services, job).run() }
            guard let run = job.runID else {
                throw FatalJobError(
                    "a \(job.kind) job belongs to a run; start one with `larder run PIPELINE`"
                )
            }
            let step = try await StepInput(services, job: job, run: run, context)
            switch job.kind {
            case "prepare": return try PrepareStep(step).run()
            case "train": return try TrainStep(step).run()
            case "check": return try CheckStep(step).run()
            case "predict": return try await PredictStep(step).run()
            case "publish": return try await PublishStep(step).run()
            case "collect": return try await CollectStep(step).run()
            default:
                throw FatalJobError(
                    "this worker has no step of the kind \"\(job.kind)\"; is it an older larder?"
                )
            }
        } catch let error as PipelineError {
            throw FatalJobError(error.description)
        } catch let error as PredictorError {
            // Bad input stays bad; a file that cannot be read may be there the next time.
            if case .input = error { throw FatalJobError(error.description) }
            throw error
        }
    }
}

/// What every step works on.
struct StepInput: Sendable {
    let services: Services
    let job: Job
    let run: Int
    let context: JobContext
    let pipeline: Pipeline
    let results: RunResults

    init(_ services: Services, job: Job, run: Int, _ context: JobContext) async throws {
        self.services = services
        self.job = job
        self.run = run
        self.context = context
        let json = try await services.runs.pipeline(of: run)
        do {
            pipeline = try JSONDecoder().decode(Pipeline.self, from: Data(json.utf8))
        } catch {
            throw FatalJobError(
                "the pipeline of run \(run) was written by another version of larder: \(error)"
            )
        }
        results = RunResults(try await services.runs.results(of: run))
    }

    func arguments<T: Decodable>(_ type: T.Type) throws -> T {
        do {
            return try JSONDecoder().decode(type, from: Data(job.args.utf8))
        } catch {
            throw FatalJobError("the arguments \(job.args) are not those of a \(job.kind) job")
        }
    }

    func dataset() throws -> (id: String, Dataset) {
        let id = try results.get("prepare", PrepareResult.self).dataset
        return (id, try Dataset(from: services.artifacts.get(kind: "dataset", id).folder))
    }

    func model(from name: String, _ dataset: Dataset) throws -> (id: String, RetrievalModel) {
        let id = try results.get(name, TrainResult.self).model
        let folder = try services.artifacts.get(kind: "model", id).folder
        return (
            id,
            try RetrievalModel(
                kind: pipeline.model.kind,
                from: folder,
                itemCount: dataset.items.count
            )
        )
    }

    /// Reports progress, and throws when the job is to stop.
    func progress(_ fraction: Double, _ message: String) throws {
        context.progress(fraction, message)
        try context.checkStop()
    }
}
