// SPDX-License-Identifier: Apache-2.0
import Foundation
import Jobs
import Predictor

/// A pipeline as a graph of jobs.
///
///     prepare ─► train ─► check ─► gate ─► refit ─► predict ─► predict 1/n … n/n ─► publish ─► collect
///
/// A pipeline that ranks has `train ranker` beside `train`, and `refit ranker` beside `refit`. With a
/// sweep, `prepare` fans out into `train 1/n … n/n`, joined by `select`, which chooses or, in
/// successive halving, fans out into the next round. `gate` is there where the pipeline has gates.
/// `train` learns from the training part only, and `check` measures it on what was kept back.
/// `refit` then learns from everything, because a model that never saw the newest events would
/// be worse than the one measured. `hindsight`, beside the training, scores what earlier runs
/// published by the events that came since. `predict` fans out into shards, joined by `publish`.
///
/// Of imported lists there is nothing to learn and nothing to measure by: prepare ─► refit ─► predict.
enum RunPlan {
    static let publishName = "publish"

    /// The two models of a pipeline: one finds, and perhaps one orders.
    enum Stage: String, Codable {
        case retrieval
        case ranking

        var refitName: String { self == .retrieval ? "refit" : "refit ranker" }

        /// The job whose result is the model that is measured.
        func trainName(_ pipeline: Pipeline) -> String {
            switch self {
            case .ranking: "train ranker"
            case .retrieval:
                pipeline.sweep.map { selectName(round: $0.rounds.count - 1, of: $0) } ?? "train"
            }
        }
    }

    /// `round` is from 0.
    static func armName(_ arm: Int, round: Int, of sweep: Sweep) -> String {
        "train \(arm)/\(sweep.arms.count)" + (round == 0 ? "" : " round \(round + 1)")
    }

    static func selectName(round: Int, of sweep: Sweep) -> String {
        round == sweep.rounds.count - 1 ? "select" : "select round \(round + 1)"
    }

    static func jobs(_ pipeline: Pipeline) -> [NewJob] {
        let stages: [Stage] = pipeline.rank == nil ? [.retrieval] : [.retrieval, .ranking]
        func args(_ events: String, _ stage: Stage) -> String {
            #"{"on":"\#(events)","stage":"\#(stage.rawValue)"}"#
        }
        var jobs = [NewJob(name: "prepare", kind: "prepare")]
        if pipeline.model.isImported {
            let refit = Stage.retrieval.refitName
            jobs.append(
                NewJob(
                    name: refit,
                    kind: "train",
                    args: args("all", .retrieval),
                    after: ["prepare"]
                )
            )
            return jobs + serving(pipeline, after: [refit])
        }
        if let sweep = pipeline.sweep {
            jobs += sweep.rounds.indices.map { round in
                NewJob(
                    name: selectName(round: round, of: sweep),
                    kind: "select",
                    args: #"{"round":\#(round)}"#,
                    after: [round == 0 ? "prepare" : selectName(round: round - 1, of: sweep)],
                    joinsGroup: true
                )
            }
        }
        for stage in stages where stage == .ranking || pipeline.sweep == nil {
            jobs.append(
                NewJob(
                    name: stage.trainName(pipeline),
                    kind: "train",
                    args: args("training", stage),
                    after: ["prepare"]
                )
            )
        }
        jobs.append(
            NewJob(name: "check", kind: "check", after: stages.map { $0.trainName(pipeline) })
        )
        let hasGate = pipeline.check.gates.contains { !$0.isOfLists }
        if hasGate { jobs.append(NewJob(name: "gate", kind: "gate", after: ["check"])) }
        for stage in stages {
            jobs.append(
                NewJob(
                    name: stage.refitName,
                    kind: "train",
                    args: args("all", stage),
                    after: [hasGate ? "gate" : "check"]
                )
            )
        }
        // What was served is looked at while it is still there.
        let hasTime = pipeline.dataset.columns.time != nil
        if hasTime { jobs.append(NewJob(name: "hindsight", kind: "hindsight", after: ["prepare"])) }
        return jobs
            + serving(
                pipeline,
                after: stages.map(\.refitName),
                afterEndOf: hasTime ? ["hindsight"] : []
            )
    }

    /// From a model to a live release; `afterEndOf`: what still looks at the one before.
    private static func serving(
        _ pipeline: Pipeline,
        after models: [String],
        afterEndOf others: [String] = []
    ) -> [NewJob] {
        // Lists in place are gone as soon as the next are written.
        let isInPlace = pipeline.publish.inPlace == true
        return [
            NewJob(
                name: "predict",
                kind: "predict",
                after: models,
                afterEndOf: isInPlace ? others : []
            ),
            NewJob(name: publishName, kind: "publish", after: ["predict"], joinsGroup: true),
            NewJob(name: "collect", kind: "collect", after: [publishName], afterEndOf: others),
        ]
    }

    /// The trainings of a round; `states`: what each arm goes on from, in rounds after the first.
    static func round(
        _ round: Int,
        of sweep: Sweep,
        arms: [Int],
        states: [Int: String] = [:]
    ) throws -> FanOut {
        struct Arguments: Encodable {
            let on = "training"
            let arm: Int
            let round: Int
            let state: String?
        }
        let jobs = try arms.map { arm in
            let arguments = Arguments(arm: arm, round: round, state: states[arm])
            return NewJob(
                name: armName(arm, round: round, of: sweep),
                kind: "train",
                args: try JSON.text(arguments)
            )
        }
        let policy: JoinPolicy =
            switch sweep.join {
            case .any: .all(maxFailed: arms.count - 1)
            case .all: .all()
            case .atLeast(let count): .atLeast(count)
            case .bestOf(let seconds): .bestOf(within: .seconds(seconds))
            }
        return FanOut(jobs, join: selectName(round: round, of: sweep), policy: policy)
    }
}
