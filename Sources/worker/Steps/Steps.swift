// SPDX-License-Identifier: Apache-2.0
import Artifacts
import CacheWriter
import Foundation
import Jobs
import Predictor
import Tables
import Transfer

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
            switch job.kind {
            case "run": return try await StartRunStep(services, job).run()
            case "track": return try await TrackStep(services, job, context).run()
            case "notify": return try await NotifyStep(services, job, context).run()
            default: break
            }
            guard let run = job.runID else {
                throw FatalJobError(
                    "a \(job.kind) job belongs to a run; start one with `larder run PIPELINE`"
                )
            }
            let step = try await StepInput(services, job: job, run: run, context)
            switch job.kind {
            case "prepare":
                var result = try await PrepareStep(step).run()
                if let sweep = step.pipeline.sweep {
                    result.fanOut = try RunPlan.round(
                        0,
                        of: sweep,
                        arms: Array(1...sweep.arms.count)
                    )
                }
                return result
            case "train": return try await TrainStep(step).run()
            case "select": return try await SelectStep(step).run()
            case "check": return try await CheckStep(step).run()
            case "gate": return try await GateStep(step).run()
            case "hindsight": return try await HindsightStep(step).run()
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
        } catch let error as TableError {
            if case .input = error { throw FatalJobError(error.description) }
            throw error
        } catch let error as TransferError {
            if case .refused = error { throw FatalJobError(error.description) }
            throw error
        } catch CacheError.fenced(let why) {
            // Somebody else has come in between, and no later try changes that.
            throw FatalJobError(why)
        } catch let error as CacheError where error.isFull {
            // Somebody has to make room, and that is not the job's fault.
            throw ResourceJobError(error.description)
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
        var services = services
        services.artifacts = services.artifacts.checking { try context.checkStop() }
        self.services = services
        self.job = job
        self.run = run
        self.context = context
        pipeline = try await services.pipeline(of: run)
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

    func model(from name: String) throws -> (Dataset, any Recommender) {
        let id = try results.get(name, TrainResult.self).model
        let trained = try services.model(id)
        try check(trained.about, of: id)
        return (trained.dataset, trained.model)
    }

    /// What orders the lists, where the pipeline has it; `name`: the job that trained it.
    func rankStage(from name: String) throws -> RankStage? {
        guard let rank = pipeline.rank else { return nil }
        let id = try results.get(name, TrainResult.self).model
        let about = try services.artifacts.get(kind: "model", id).manifest(TrainStep.About.self)
        try check(about, of: id)
        return try services.rankStage(id, rank)
    }

    private func check(_ about: TrainStep.About, of model: String) throws {
        try about.check(
            isOf: results.get("prepare", PrepareResult.self).dataset,
            model: model
        )
    }

    /// What stands for some work: a hash of its kind, of this program, and of all that decides it.
    func key(of kind: String, _ decisive: some Encodable) throws -> String {
        var hash = ContentHash()
        hash.add("\(kind)\n\(CodeVersion.hash)\n")
        hash.add(try JSON.text(decisive))
        return hash.hex
    }

    /// What was worked out already under a key, and by which run.
    func finished<T: Decodable>(_ key: String, _ type: T.Type) async throws -> (T, run: Int)? {
        // A result of another version of larder is worked out again.
        try await FinishedWork(services.client).find(key).flatMap { entry in
            (try? JSONDecoder().decode(type, from: Data(entry.result.utf8))).map { ($0, entry.run) }
        }
    }

    func record(_ result: some Encodable, under key: String) async throws {
        try await FinishedWork(services.client).record(
            key,
            FinishedWork.Entry(result: try JSON.text(result), run: run)
        )
    }

    /// Reports progress, and throws when the job is to stop.
    func progress(_ fraction: Double, _ message: String) throws {
        context.progress(fraction, message)
        try context.checkStop()
    }
}
