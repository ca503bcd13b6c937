// SPDX-License-Identifier: Apache-2.0
import Jobs

/// Stops a run whose model does not hold what its pipeline asks for.
///
/// What is live stays live. A run that is forced goes on, and its reason is kept with what it passed
/// over.
struct GateStep {
    private let input: StepInput

    init(_ input: StepInput) { self.input = input }

    func run() async throws -> JobResult {
        let check = try input.results.get("check", CheckResult.self)
        let gates = input.pipeline.check.gates.filter { !$0.isOfLists }
        let outcomes = gates.map { $0.outcome(check.report, withoutLive: check.withoutLive) }
        return try JobResult(try await input.pass(outcomes))
    }
}

/// How a refusal is known among the failures of jobs.
enum GateRefusal {
    static let words = "gates refuse it; what is live stays live"

    static func isOne(_ error: String?) -> Bool { error?.contains(words) ?? false }
}

extension StepInput {
    /// Throws where a gate does not hold and nobody forces the run.
    func pass(_ outcomes: [GateOutcome]) async throws -> GateResult {
        let refused = outcomes.filter { !$0.holds }
        guard !refused.isEmpty else { return GateResult(gates: outcomes) }
        guard let reason = try await services.runs.run(run).forced else {
            let lines = refused.map { "\($0.gate): \($0.finding)" }
            throw FatalJobError(
                """
                \(refused.count) of \(outcomes.count) \(GateRefusal.words)
                \(lines.joined(separator: "\n"))
                hint: `larder runs force \(run) --reason "..."` goes on in spite of it
                """
            )
        }
        return GateResult(gates: outcomes, forced: reason)
    }
}
