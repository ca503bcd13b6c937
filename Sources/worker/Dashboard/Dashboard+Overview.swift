// SPDX-License-Identifier: Apache-2.0
import Foundation
import Jobs
import Predictor

/// The first page: is everything well?
extension Dashboard {
    func overview(_ visitor: DashboardPage.Visitor) async throws -> DashboardPage {
        let feeds = try await feeds()
        let runs = try await services.runs.list(limit: 10)
        let queues = try await services.queue.states()
        let workers = try await services.queue.workers()
        let failed = try await services.runs.jobs(state: "failed", limit: 10, withResults: false)
        return DashboardPage(
            title: "Overview",
            body: """
                <h1>Overview</h1>
                \(HTML.live("feeds", HTML.section("Feeds", feeds)))\
                \(HTML.live("runs", HTML.section("Runs", Self.table(runs, "The latest runs"))))\
                \(HTML.live("queues", HTML.section("Queues", Self.table(queues, visitor))))\
                \(HTML.live("workers", HTML.section("Workers", Self.table(workers))))\
                \(HTML.live("failed", failed.isEmpty ? "" : HTML.section("Failed jobs", Self.table(failed, "The latest that failed"))))
                """
        )
    }

    // MARK: feeds

    private func feeds() async throws -> HTML {
        let feeds = try await services.releases.live()
        guard !feeds.isEmpty else {
            return "<p>No feed is live. <code>larder run PIPELINE</code> makes one.</p>\n"
        }
        var rows: [[HTML]] = []
        for feed in feeds {
            let names = ["check", "hindsight"]
            let results = RunResults(
                try await services.runs.results(of: feed.run, named: names)
            )
            rows.append(
                [
                    HTML.link(feed.feed, ["feeds", feed.feed]),
                    HTML.link("\(feed.number)", ["runs", "\(feed.run)"]),
                    "\(Output.seconds(feed.seconds))", "\(Output.count(feed.lists))",
                ] + Self.quality(try? results.find("check"))
                    + [Self.hindsight(try? results.find("hindsight")), lookups(of: feed.feed)]
            )
        }
        return HTML.table(
            "What readers get",
            [
                "feed", "release", "live for", "lists", "ndcg", "coverage", "hindsight",
                "lookups here",
            ],
            rows,
            numbers: [2, 3]
        )
    }

    /// How good the lists are, and how much of the catalogue is in them.
    static func quality(_ check: CheckResult?) -> [HTML] {
        guard let report = check?.report, let k = report.ks.first,
            let ndcg = report.model["ndcg@\(k)"]
        else { return ["", ""] }
        let popularity = report.system(Baseline.popularity.rawValue)
        let sign = popularity?.differences["ndcg@\(k)"]?.sign ?? 0
        let word: HTML =
            switch sign {
            case 1: "<span class=\"good\">above popularity</span>"
            case -1: "<strong class=\"bad\">below popularity</strong>"
            default: "<span class=\"soft\">as popularity</span>"
            }
        let coverage = report.model["coverage@\(k)"].map { String(format: "%.3f", $0.value) }
        return [
            "\(String(format: "%.4f", ndcg.value)) at \(k), \(popularity == nil ? "" : word)",
            "\(coverage ?? "")",
        ]
    }

    private static func hindsight(_ hindsight: HindsightResult?) -> HTML {
        guard let hindsight, let day = hindsight.days.last else { return "" }
        return """
            \(String(format: "%.4f", day.hitRate)) at \(hindsight.k) on \(day.day) <span class="soft">default list \(String(format: "%.4f", day.defaultHitRate))</span>
            """
    }

    /// How many this server answered, and how many of them not with the id's own list.
    private func lookups(of feed: String) -> HTML {
        let counts = meter.counts.lookups.filter { $0.key.feed == feed }
        let all = counts.values.reduce(0, +)
        guard all > 0 else { return "<span class=\"soft\">none yet</span>" }
        let own = counts.filter { ["list", "session"].contains($0.key.source) }.values.reduce(0, +)
        let share = 100 * Double(all - own) / Double(all)
        return "\(Output.count(all)), \(String(format: "%.1f", share)) % on fallback"
    }

    // MARK: the queue

    static func table(_ runs: [Runs.Run], _ caption: String) -> HTML {
        guard !runs.isEmpty else { return "<p>There is none yet.</p>\n" }
        return HTML.table(
            caption,
            ["run", "feed", "state", "", "started", "took"],
            runs.map { run in
                [
                    HTML.link("\(run.id)", ["runs", "\(run.id)"]),
                    HTML.link(run.feed, ["feeds", run.feed]), HTML.state(run.state),
                    run.state == "running"
                        ? HTML.progress(
                            Double(run.ended) / Double(max(1, run.jobs)),
                            "\(run.ended) of \(run.jobs) jobs"
                        ) : "",
                    "\(run.createdAt)", "\(Output.seconds(run.seconds))",
                ]
            },
            numbers: [5]
        )
    }

    private static func table(_ queues: [Queue.State], _ visitor: DashboardPage.Visitor) -> HTML {
        HTML.table(
            "Jobs that have not ended",
            ["queue", "ready", "oldest", "running", "scheduled", "waiting", "limit", ""],
            queues.map { queue in
                [
                    HTML.link(queue.queue, ["jobs"], ["queue": queue.queue]),
                    "\(Output.count(queue.ready))",
                    "\(queue.ready == 0 ? "" : Output.seconds(queue.oldestReadySeconds))",
                    "\(Output.count(queue.running))", "\(Output.count(queue.scheduled))",
                    "\(Output.count(queue.waiting))",
                    "\(queue.maxRunning.map { String($0) } ?? "")",
                    queue.isPaused
                        ? "\(HTML.state("paused")) \(visitor.button("Resume", HTML.path(["queues", queue.queue, "resume"])))"
                        : visitor.button(
                            "Pause",
                            HTML.path(["queues", queue.queue, "pause"]),
                            asking: "Let no worker take jobs of the queue \(queue.queue)?"
                        ),
                ]
            },
            numbers: [1, 2, 3, 4, 5, 6]
        )
    }

    private static func table(_ workers: [Queue.Worker]) -> HTML {
        guard !workers.isEmpty else {
            return
                "<p><strong class=\"bad\">No worker is there.</strong> <code>larder worker</code> starts one.</p>\n"
        }
        return HTML.table(
            "Workers whose heart beats",
            ["host", "process", "slots", "running", "since", ""],
            workers.map {
                [
                    "\($0.host)", "\($0.pid)", "\($0.slots)", "\($0.running)", "\($0.startedAt)",
                    $0.isDraining ? "<span class=\"soft\">draining</span>" : "",
                ]
            },
            numbers: [1, 2, 3]
        )
    }
}
