// SPDX-License-Identifier: Apache-2.0
import Jobs
import Predictor

/// Measures the trained model on the events kept back, beside popularity.
struct CheckStep {
    private let input: StepInput

    init(_ input: StepInput) { self.input = input }

    func run() throws -> JobResult {
        let (_, dataset) = try input.dataset()
        let (_, model) = try input.model(from: "train", dataset)
        let predict = input.pipeline.predict
        // A list cannot be longer than the catalogue, whatever the pipeline asks for.
        let longest = min(predict.rules.k, dataset.items.count)
        let ks = Set([min(10, longest), longest]).sorted()
        let report = try Evaluation.run(
            model,
            baseline: Popularity.train(dataset, on: .forTraining),
            on: dataset,
            for: predict.audience,
            predict.rules,
            ks: ks
        ) { fraction in try input.progress(fraction, "ranking the whole catalogue") }
        for (name, estimate) in report.model {
            input.context.metric("test/\(name)", value: estimate.value)
        }
        return try JobResult(CheckResult(report: report, ks: ks))
    }
}
