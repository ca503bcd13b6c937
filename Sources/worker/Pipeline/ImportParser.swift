// SPDX-License-Identifier: Apache-2.0
import CacheWriter
import Predictor
import Yams

/// What a pipeline of imported lists (`model: { kind: lists }`) may not say, and what it need not.
struct ImportParser {
    private let section: YAMLSection
    private let problems: Problems

    init(_ section: YAMLSection, _ problems: Problems) {
        self.section = section
        self.problems = problems
    }

    func completed(_ pipeline: Pipeline) -> Pipeline {
        refuse(pipeline)
        var pipeline = pipeline
        // Every row is of a list, and nobody has seen what stands in it.
        pipeline.dataset.split = .users(validation: 0, test: 0, seed: 1)
        pipeline.predict.rules.excludesSeen = false
        if case .lists(let score?) = pipeline.model {
            pipeline.dataset.features.append(
                Feature(
                    score,
                    of: .events,
                    .number(column: score, Feature.Scaling(fill: .value(0)))
                )
            )
            // A row without its score has no place in a list.
            pipeline.dataset.keep.positive = Condition(score, .atLeast, "-3e38")
        }
        return pipeline
    }

    private func refuse(_ pipeline: Pipeline) {
        func refuse(_ key: String, in parents: String..., because why: String) {
            let holder = parents.reduce(section as YAMLSection?) { $0?.section($1) }
            if let node = holder?.value(key) { problems.add(node, why) }
        }
        refuse(
            "rank",
            because: "rank: orders what a model finds, and imported lists have their order"
        )
        refuse(
            "split",
            in: "dataset",
            because:
                "dataset: split: is for measuring, and imported lists come without events to measure by"
        )
        if pipeline.dataset.columns.time != nil {
            problems.add(
                section.value("dataset"),
                "dataset: columns: time is of events; lists are ordered by model: score, or as they stand"
            )
        }
        if pipeline.predict.audience == .sessions {
            problems.add(section.value("predict"), "predict: imported lists are for users or items")
        }
        if section.section("predict")?.value("exclude")?.scalar?.string == "seen" {
            refuse(
                "exclude",
                in: "predict",
                because: "predict: exclude: what was seen is not in the import"
            )
        }
        if case .lists(let score?) = pipeline.model {
            refuse(
                "positive",
                in: "dataset",
                "keep",
                because:
                    "dataset: keep: positive has no place beside model: score; leave the rows out of the table"
            )
            if pipeline.dataset.features.contains(where: { $0.name == score }) {
                problems.add(
                    section.value("model"),
                    "model: score: a feature is called \(score) too; give that another name"
                )
            }
        }
        if case .lists(nil) = pipeline.model,
            ListFormat(rawValue: pipeline.publish.format)?.hasScores == true
        {
            problems.add(
                section.value("publish"),
                "publish: format: \(pipeline.publish.format) needs model: score"
            )
        }
        for gate in pipeline.check.gates where !gate.isOfLists {
            problems.add(
                section.value("check"),
                "gate \"\(gate.text)\": imported lists come without events to measure by; gates of lists are \(Gate.ofLists.sorted().joined(separator: ", "))"
            )
        }
    }
}
