// SPDX-License-Identifier: Apache-2.0
import Jobs
import Predictor

/// Chooses among the arms of a sweep; in successive halving, sends the better ones on.
///
/// The higher figure wins, and of equal ones the arm that is named first. An arm that failed is out.
struct SelectStep {
    private let input: StepInput

    init(_ input: StepInput) { self.input = input }

    private struct Arguments: Decodable {
        let round: Int
    }

    private struct Round: Codable {
        let round: Int
        /// Best first.
        let goingOn: [Int]
    }

    func run() async throws -> JobResult {
        guard let sweep = input.pipeline.sweep else {
            throw FatalJobError("the pipeline of this run has no sweep")
        }
        let round = try input.arguments(Arguments.self).round
        let ended = try results(ofRound: round, sweep)
        guard let best = ended.first else {
            throw FatalJobError("no arm of the sweep has a result")
        }
        guard round == sweep.rounds.count - 1 else {
            let next = ended.prefix(sweep.rounds[round + 1].arms)
            let states = next.compactMap { arm in arm.arm.state.map { (arm.arm.number, $0) } }
            let arms = next.map(\.arm.number)
            return try JobResult(
                Round(round: round + 1, goingOn: arms),
                fanOut: RunPlan.round(
                    round + 1,
                    of: sweep,
                    arms: arms,
                    states: Dictionary(states) { first, _ in first }
                )
            )
        }
        var result = best.result
        result.sweep = try await report(sweep, ended)
        return try JobResult(result)
    }

    private typealias Ended = (result: TrainResult, arm: ArmResult)

    /// Best first.
    private func results(ofRound round: Int, _ sweep: Sweep) throws -> [Ended] {
        try (1...sweep.arms.count).compactMap { number -> Ended? in
            let name = RunPlan.armName(number, round: round, of: sweep)
            guard let result = try input.results.find(name, TrainResult.self), let arm = result.arm
            else { return nil }
            return (result, arm)
        }
        .sorted { ($1.arm.estimate.value, $0.arm.number) < ($0.arm.estimate.value, $1.arm.number) }
    }

    private func report(_ sweep: Sweep, _ ended: [Ended]) async throws -> SweepReport {
        let jobs = try await input.services.runs.jobs(
            run: input.run,
            limit: 100_000,
            withResults: false
        )
        let states = Dictionary(jobs.map { ($0.name, $0) }) { first, _ in first }
        let chosen = ended[0].arm.number
        let rows = try sweep.arms.enumerated().map { place, arm in
            var row = SweepReport.Row(
                number: place + 1,
                name: arm.name,
                fate: "",
                estimate: nil,
                model: nil,
                cost: nil,
                sameAsRun: nil
            )
            var fate = "not started"
            for round in sweep.rounds.indices {
                let name = RunPlan.armName(place + 1, round: round, of: sweep)
                guard let job = states[name] else { break }
                guard let result = try input.results.find(name, TrainResult.self) else {
                    let why = job.error?.split(separator: "\n").first.map { ": \($0)" } ?? ""
                    fate = job.state + why
                    break
                }
                row.estimate = result.arm?.estimate
                row.model = result.model
                row.sameAsRun = result.sameAsRun
                row.cost = row.cost.map { $0 + result.cost } ?? result.cost
                fate =
                    round < sweep.rounds.count - 1
                    ? "stopped after round \(round + 1)" : "not chosen"
            }
            if place + 1 == chosen { fate = "chosen" }
            row.fate = fate
            return row
        }
        var report = SweepReport(metric: sweep.select, arms: rows, chosen: chosen)
        if ended.count > 1 {
            let figures = ended.prefix(2).map(\.arm.figure)
            report.next = ended[1].arm.number
            report.ahead = figures[0].difference(from: figures[1])
        }
        return report
    }
}

extension ArmResult {
    fileprivate var figure: Replicated {
        Replicated(estimate.value, replicates.map { $0.map(Double.init) ?? .nan })
    }
}

extension Cost {
    /// One after the other.
    fileprivate static func + (a: Cost, b: Cost?) -> Cost {
        guard let b else { return a }
        return Cost(
            seconds: a.seconds + b.seconds,
            cpuSeconds: a.cpuSeconds + b.cpuSeconds,
            peakMiB: max(a.peakMiB, b.peakMiB)
        )
    }
}
