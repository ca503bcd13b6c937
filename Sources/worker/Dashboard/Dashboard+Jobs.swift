// SPDX-License-Identifier: Apache-2.0
import Foundation
import Hummingbird
import Jobs

extension Dashboard {
    /// Rows of a page.
    private static let mostJobs = 200

    func jobs(_ parameters: [Request.Parameter]) async throws -> DashboardPage {
        func asked(_ name: String) -> String? {
            parameters.last { $0.name == name && !$0.value.isEmpty }?.value
        }
        let state = asked("state")
        if let state, JobsCommand.List.State(rawValue: state) == nil {
            throw RequestError(.badRequest, "there is no state \"\(state)\"")
        }
        let run = asked("run")
        if let run, Int(run) == nil {
            throw RequestError(.badRequest, "\"\(run)\" is not the number of a run")
        }
        let jobs = try await services.runs.jobs(
            run: run.flatMap { Int($0) },
            state: state,
            kind: asked("kind"),
            queue: asked("queue"),
            limit: Self.mostJobs,
            withResults: false
        )
        let options = JobsCommand.List.State.allCases.map(\.rawValue).map { name -> HTML in
            "<option\(name == state ? " selected" : "" as HTML)>\(name)</option>"
        }
        let form: HTML = """
            <form method="get" action="/jobs">
            <label>State <select name="state"><option value="">any</option>\(options)</select></label>
            <label>Kind <input name="kind" value="\(asked("kind") ?? "")"></label>
            <label>Queue <input name="queue" value="\(asked("queue") ?? "")"></label>
            <label>Run <input name="run" inputmode="numeric" size="6" value="\(run ?? "")"></label>
            <button>Show</button></form>

            """
        let caption =
            jobs.count == Self.mostJobs ? "The newest \(jobs.count)" : "\(jobs.count) jobs"
        return DashboardPage(
            title: "Jobs",
            body:
                "<h1>Jobs</h1>\n\(form)\(HTML.live("jobs", jobs.isEmpty ? "<p>There is none.</p>\n" : Self.table(jobs, caption)))"
        )
    }

    static func table(_ jobs: [Runs.JobRow], _ caption: String) -> HTML {
        HTML.table(
            caption,
            ["job", "name", "state", "attempt", "took", "run", ""],
            jobs.map { job in
                [
                    HTML.link("\(job.id)", ["jobs", "\(job.id)"]), "\(job.name)",
                    HTML.state(job.cancelling ? "cancelling" : job.state),
                    "\(job.attempt)/\(job.maxAttempts)", "\(Output.seconds(job.seconds))",
                    job.run.map { HTML.link("\($0)", ["runs", "\($0)"]) } ?? "",
                    note(on: job),
                ]
            },
            numbers: [3, 4]
        )
    }

    /// How far it is, or why it is where it is.
    private static func note(on job: Runs.JobRow) -> HTML {
        if job.state == "running", let fraction = job.fraction {
            return "\(HTML.progress(fraction, "progress of \(job.name)")) \(job.message ?? "")"
        }
        guard job.state != "succeeded", let error = job.error else { return "" }
        return "\(String(error.prefix { $0 != "\n" }))"
    }

    // MARK: one

    func job(_ id: Int, _ visitor: DashboardPage.Visitor) async throws -> DashboardPage {
        let job = try await services.runs.job(id)
        let attempts = try await services.runs.attempts(of: id)
        let isAlive = !job.hasEnded
        var buttons: HTML = ""
        if isAlive, !job.cancelling {
            buttons = visitor.button("Cancel", "/jobs/\(id)/cancel", asking: "Cancel job \(id)?")
        } else if ["failed", "cancelled"].contains(job.state) {
            buttons = visitor.button("Retry", "/jobs/\(id)/retry")
        }
        var facts: [(String, HTML)] = [
            ("kind", "\(job.kind)"), ("queue", "\(job.queue), priority \(job.priority)"),
            ("attempt", "\(job.attempt) of \(job.maxAttempts)"),
            ("took", "\(Output.seconds(job.seconds))"),
        ]
        if let run = job.run { facts.append(("run", HTML.link("\(run)", ["runs", "\(run)"]))) }
        if let key = job.dedupKey { facts.append(("dedup key", "\(key)")) }
        if job.quarantined { facts.append(("runs alone", "it was lost with its worker twice")) }
        if let checkpoint = job.checkpoint { facts.append(("resumes from", "\(checkpoint)")) }
        let list = facts.map { name, value -> HTML in "<dt>\(name)</dt><dd>\(value)</dd>\n" }
        let errors: HTML =
            attempts.isEmpty
            ? ""
            : HTML.section(
                "Attempts that did not succeed",
                HTML.table(
                    "Attempts",
                    ["attempt", "began", "took", "outcome", "on", "error"],
                    attempts.map {
                        [
                            "\($0.attempt)", "\($0.startedAt ?? "")",
                            "\(Output.seconds($0.seconds))", "\($0.outcome)", "\($0.host ?? "")",
                            HTML.verbatim($0.error ?? ""),
                        ]
                    },
                    numbers: [2]
                )
            )
        return DashboardPage(
            title: "Job \(id)",
            body: HTML.live(
                "job",
                if: isAlive,
                """
                <h1>Job \(id): \(job.name)</h1>
                <p class="lead">\(HTML.state(job.cancelling ? "cancelling" : job.state)) \(Self.note(on: job))</p>
                <div class="actions">\(buttons)</div>
                <dl>
                \(list)</dl>
                \(errors)\(HTML.section("Arguments", HTML.verbatim(job.args)))\
                \(job.result.map { HTML.section("Result", HTML.verbatim($0)) } ?? "")
                """
            )
        )
    }
}
