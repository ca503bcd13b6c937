// SPDX-License-Identifier: Apache-2.0
import Foundation
import Jobs

/// A pipeline as a graph of jobs.
///
///     prepare ─► train ─► check ─► refit ─► predict ─► predict 1/n … n/n ─► publish ─► collect
///
/// `train` learns from the training part only, and `check` measures it on what was kept back.
/// `refit` then learns from everything, because a model that never saw the newest events would
/// be worse than the one measured. `predict` fans out into shards, joined by `publish`.
enum RunPlan {
    static let publishName = "publish"

    static func jobs() -> [NewJob] {
        [
            NewJob(name: "prepare", kind: "prepare", timeout: .seconds(3600)),
            NewJob(
                name: "train",
                kind: "train",
                args: #"{"on":"training"}"#,
                after: ["prepare"],
                timeout: .seconds(6 * 3600)
            ),
            NewJob(name: "check", kind: "check", after: ["train"], timeout: .seconds(3600)),
            NewJob(
                name: "refit",
                kind: "train",
                args: #"{"on":"all"}"#,
                after: ["check"],
                timeout: .seconds(6 * 3600)
            ),
            NewJob(name: "predict", kind: "predict", after: ["refit"]),
            NewJob(
                name: publishName,
                kind: "publish",
                after: ["predict"],
                joinsGroup: true,
                timeout: .seconds(3600)
            ),
            NewJob(name: "collect", kind: "collect", after: [publishName], timeout: .seconds(3600)),
        ]
    }

    static func encode(_ pipeline: Pipeline) throws -> String {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
        return String(decoding: try encoder.encode(pipeline), as: UTF8.self)
    }
}
