// SPDX-License-Identifier: Apache-2.0
import Foundation
import Hummingbird
import Jobs

extension Dashboard {
    /// Rows of a page.
    private static let mostRuns = 100
    private static let mostJobs = 200

    func runs() async throws -> DashboardPage {
        let runs = try await services.runs.list(limit: Self.mostRuns)
        return DashboardPage(
            title: "Runs",
            body:
                "<h1>Runs</h1>\n\(HTML.live("runs", Self.table(runs, "The newest \(Self.mostRuns) at most")))"
        )
    }

    /// A run while it works and afterwards: its graph, its jobs, and what its card says.
    func run(_ id: Int, _ visitor: DashboardPage.Visitor) async throws -> DashboardPage {
        let summary = try await RunSummary(id, services, mostJobs: Self.mostJobs)
        let (run, jobs) = (summary.run, summary.jobs)
        let graph = try await services.runs.graph(of: id)
        // One of another version of larder has none.
        let card = summary.pipeline == nil ? nil : try await Card(summary, services)
        let isRunning = run.state == "running"
        var buttons: HTML = ""
        if isRunning {
            buttons = visitor.button("Cancel", "/runs/\(id)/cancel", asking: "Cancel run \(id)?")
        } else if run.state != "succeeded" {
            buttons = visitor.button("Retry", "/runs/\(id)/retry")
        }
        let link: HTML =
            isRunning || card == nil ? "" : "<a href=\"/runs/\(id)/card\">The card, as a file</a>"
        let head: HTML = """
            \(card?.head ?? "<h1>Run \(id) of \(run.feed)</h1>\n<p class=\"lead\">\(HTML.state(run.state))</p>\n")\
            <div class="actions">\(buttons)\(HTML.link("The feed", ["feeds", run.feed])) \(link)</div>

            """
        let isMore = run.jobs > jobs.count
        let caption =
            isMore
            ? "\(jobs.count) of \(Output.count(run.jobs)) jobs, as they began" : "As they began"
        // The first of many have ended long ago.
        let running =
            isMore && isRunning
            ? try await services.runs.jobs(run: id, state: "running", limit: 50) : []
        let table: HTML = """
            \(running.isEmpty ? "" : Self.table(running, "Running now"))\
            \(Self.table(jobs, caption))<p><a href="/jobs?run=\(id)">Only those in one state</a></p>

            """
        return DashboardPage(
            title: "Run \(id) of \(run.feed)",
            body: """
                \(HTML.live("head", if: isRunning, head))\
                \(HTML.live("graph", if: isRunning, graph.steps.isEmpty ? "<p>Its jobs have been cleaned away.</p>\n" : HTML.section("Graph", RunGraph(graph, of: id).drawing)))\
                \(HTML.live("errors", if: isRunning, try await errors(run)))\
                \(HTML.live("jobs", if: isRunning, jobs.isEmpty ? "" : HTML.section("Jobs", table)))\
                \(HTML.live("findings", if: isRunning, card?.findings ?? ""))
                """
        )
    }

    /// What went wrong, however many have not.
    private func errors(_ run: Runs.Run) async throws -> HTML {
        let failed = try await services.runs.jobs(
            run: run.id,
            state: "failed",
            limit: 20,
            withResults: false
        )
        let pieces = failed.map { job -> HTML in
            """
            <h3>\(HTML.link(job.name, ["jobs", "\(job.id)"])) failed</h3>
            \(HTML.verbatim(job.error ?? ""))
            """
        }
        return failed.isEmpty ? "" : HTML.section("Errors", "\(pieces)")
    }

    @Sendable func card(
        _ request: Request,
        _ context: BasicRequestContext
    ) async throws -> Response {
        let id = try context.number()
        return .html(try await Card(id, services).page.description)
    }
}
