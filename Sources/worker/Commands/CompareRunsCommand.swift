// SPDX-License-Identifier: Apache-2.0
import ArgumentParser
import Artifacts
import Foundation
import Jobs
import Predictor

struct CompareRunsCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "compare",
        abstract: "Compare two runs: what was set otherwise, and which is better.",
        discussion: """
            Measured on the same dataset, the two answered the same queries: the difference is \
            theirs, query by query, with its interval and the probability that B is better.
            """
    )

    @Argument(help: "A run's number.") var a: Int
    @Argument(help: "Another's.") var b: Int
    @OptionGroup var stores: StoreOptions

    private struct Side {
        let run: Int
        let pipeline: Pipeline
        let settings: [String: String]
        let dataset: String
        let check: CheckResult
    }

    private struct Answer: Encodable {
        struct Setting: Encodable {
            let name: String
            let a: String?
            let b: String?
        }
        struct Metric: Encodable {
            let name: String
            let a: Estimate
            let b: Estimate
            /// B less A; nil where they answered other queries.
            let difference: Difference?
        }
        let settings: [Setting]
        let isPaired: Bool
        let metrics: [Metric]
    }

    func run() async throws {
        try await stores.withServices { services, _ in
            let sides = (try await side(a, services), try await side(b, services))
            let isPaired =
                sides.0.dataset == sides.1.dataset
                && sides.0.pipeline.predict.listsFor == sides.1.pipeline.predict.listsFor
                && sides.0.check.report.order == sides.1.check.report.order
            let answer = Answer(
                settings: settings(sides.0, sides.1),
                isPaired: isPaired,
                metrics: try metrics(sides.0, sides.1, isPaired, services)
            )
            if stores.json { return try Output.json(answer) }
            show(answer, sides.0, sides.1)
        }
    }

    private func side(_ number: Int, _ services: Services) async throws -> Side {
        _ = try await services.runs.run(number)
        let results = RunResults(try await services.runs.results(of: number))
        guard let check = try? results.get("check", CheckResult.self),
            let pipeline = try? await services.pipeline(of: number)
        else {
            throw SettingsError(
                "run \(number) has nothing to compare: it measured no model, or another version of larder did"
            )
        }
        // Of a sweep, what was chosen is what was measured.
        let name = RunPlan.Stage.retrieval.trainName(pipeline)
        let arm = try results.get(name, TrainResult.self).arm?.number
        let chosen = pipeline.choosing(arm: arm)
        return Side(
            run: number,
            pipeline: chosen,
            settings: try Flattened(JSONEncoder().encode(chosen.shareable)).values,
            dataset: try results.get("prepare", PrepareResult.self).dataset,
            check: check
        )
    }

    private func settings(_ a: Side, _ b: Side) -> [Answer.Setting] {
        Set(a.settings.keys).union(b.settings.keys).sorted()
            .filter { a.settings[$0] != b.settings[$0] }
            .map { Answer.Setting(name: $0, a: a.settings[$0], b: b.settings[$0]) }
    }

    private func metrics(
        _ a: Side,
        _ b: Side,
        _ isPaired: Bool,
        _ services: Services
    ) throws -> [Answer.Metric] {
        func figures(_ side: Side) throws -> [String: Replicated] {
            try ReportFile.read(
                from: services.artifacts.get(kind: "report", side.check.figures).folder,
                side.check.report,
                system: EvaluationReport.model
            )
        }
        let (ours, theirs) = (a.check.report.model, b.check.report.model)
        let (first, second) = isPaired ? (try figures(a), try figures(b)) : ([:], [:])
        return ours.keys.sorted().compactMap { name in
            guard let one = ours[name], let other = theirs[name] else { return nil }
            return Answer.Metric(
                name: name,
                a: one,
                b: other,
                difference: first[name].flatMap { one in
                    second[name].map { $0.difference(from: one) }
                }
            )
        }
    }

    private func show(_ answer: Answer, _ a: Side, _ b: Side) {
        if answer.settings.isEmpty {
            print("the two runs have the same settings")
        } else {
            Output.table(
                ["setting", "run \(a.run)", "run \(b.run)"],
                answer.settings.map { [$0.name, $0.a ?? "", $0.b ?? ""] }
            )
        }
        print()
        if !answer.isPaired {
            print(
                """
                other events, or other lists, were measured, or in another order: run \(a.run) on \
                \(Output.count(a.check.report.queries)) queries of dataset \(a.dataset.prefix(12)), run \(b.run) on \
                \(Output.count(b.check.report.queries)) of \(b.dataset.prefix(12)). The figures stand beside each other, \
                and no difference is drawn from them
                """
            )
        }
        // Slices are many; the JSON has them.
        let metrics = answer.metrics.filter { !$0.name.contains("[") }
        Output.table(
            ["", "run \(a.run)", "run \(b.run)"]
                + (answer.isPaired ? ["difference", "probability of more"] : []),
            metrics.map { metric in
                [metric.name, Self.text(metric.a), Self.text(metric.b)]
                    + (metric.difference.map { difference in
                        [
                            String(
                                format: "%+.4f [%+.4f, %+.4f]",
                                difference.value,
                                difference.low,
                                difference.high
                            ), String(format: "%.3f", difference.probability),
                        ]
                    } ?? [])
            }
        )
    }

    private static func text(_ estimate: Estimate) -> String {
        String(format: "%.4f [%.4f, %.4f]", estimate.value, estimate.low, estimate.high)
    }
}
