// SPDX-License-Identifier: Apache-2.0
import CacheWriter
import Foundation
import Hummingbird
import Jobs
import Predictor

/// One feed: what an id gets, and everything that a rollback is decided by.
extension Dashboard {
    private static let mostReleases = 20
    private static let mostHidden = 200

    func feed(
        _ feed: String,
        _ parameters: [Request.Parameter],
        _ visitor: DashboardPage.Visitor
    ) async throws -> DashboardPage {
        // Throws where there is no such feed.
        let rules = try await services.servingRules.snapshot(feed: feed)
        let split = rules.split.flatMap { CacheWriter.Split($0) }
        let releases = try await services.releases.list(feed: feed, limit: Self.mostReleases)
        let runs = try await services.runs.list(feed: feed, limit: 10)
        return DashboardPage(
            title: feed,
            body: """
                <h1>\(feed)</h1>
                \(HTML.section("What an id gets", try await lookup(feed, parameters)))\
                \(HTML.section("Releases", try await table(releases, split, visitor)))\
                \(HTML.section("Hidden items", hidden(rules.hidden, feed, visitor)))\
                \(try await hindsight(releases))\
                \(HTML.live("runs", HTML.section("Runs", Self.table(runs, "The latest runs"))))
                """
        )
    }

    // MARK: looking up

    private func lookup(_ feed: String, _ parameters: [Request.Parameter]) async throws -> HTML {
        var values: [String: String] = [:]
        for (name, value) in parameters where !value.isEmpty { values[name] = value }
        func field(_ label: String, _ name: String, _ more: HTML = "") -> HTML {
            "<label>\(label) <input name=\"\(name)\" value=\"\(values[name] ?? "")\"\(more)></label>\n"
        }
        let form: HTML = """
            <form method="get" action="\(HTML.path(["feeds", feed]))">
            \(field("Id", "id", " required maxlength=\"512\""))\
            \(field("Entries", "k", " inputmode=\"numeric\" size=\"5\""))\
            \(field("Segment", "segment"))\(field("Category", "category"))\
            <button>Look up</button></form>

            """
        guard let id = values["id"] else { return form }
        let answer: HTML
        do {
            answer = try await self.answer(feed, id, values)
        } catch let error as RequestError {
            answer = "<p class=\"bad\" role=\"alert\">\(error.message)</p>\n"
        } catch let error as CacheError {
            answer = "<p class=\"bad\" role=\"alert\">\(error.description)</p>\n"
        }
        return form + answer
    }

    private func answer(_ feed: String, _ id: String, _ values: [String: String]) async throws
        -> HTML
    {
        try LookupOptions.check(id, "id")
        let options = try LookupOptions(
            values.filter { LookupOptions.names.contains($0.key) }.map { ($0.key, $0.value) }
        )
        guard let found = try await lookups.lookup([options.question(feed, id)])[0].get() else {
            return "<p>The feed has no live release.</p>\n"
        }
        let release = try await services.releases.find(feed: feed, number: found.release)
        let items = found.isOfItems ? found.entries.map(\.id) : []
        var names: Titles.Names = [:]
        if let dataset = release?.dataset {
            // A damaged file costs the titles, not the page.
            names = (try? await titles.of(items + [id], in: dataset)) ?? [:]
        }
        let owner = found.isForItems ? names[id].map { " (\($0))" } : nil
        let whose =
            switch found.source {
            case .list: "its own list"
            case .segment: "the list of its segment"
            case .category: "the list of the category"
            case .default: "the default list, for it has none"
            }
        let arm = found.arm.map { ", arm \($0)" } ?? ""
        let entries = found.entries.map { entry -> HTML in
            let score = entry.score.map { String(format: " %.4g", $0) } ?? ""
            return
                "<li><code>\(entry.id)</code> \(found.isOfItems ? names[entry.id] ?? "" : "") <span class=\"soft\">\(score)</span></li>\n"
        }
        return """
            <p>\(id)\(owner ?? "") gets \(whose), of release \(found.release)\(arm):</p>
            <ol class="list">
            \(entries)</ol>

            """
    }

    // MARK: releases

    private func table(
        _ releases: [Releases.Release],
        _ split: CacheWriter.Split?,
        _ visitor: DashboardPage.Visitor
    ) async throws -> HTML {
        guard !releases.isEmpty else { return "<p>There is none yet.</p>\n" }
        var rows: [[HTML]] = []
        for release in releases {
            let results = RunResults(
                try await services.runs.results(of: release.run, named: ["check"])
            )
            let quality = Self.quality(try? results.find("check"))
            rows.append(
                [
                    "\(release.number)", HTML.state(release.state), "\(release.readers(split))",
                    // The runs of what is collected are cleaned away one day.
                    release.state == "collected"
                        ? "\(release.run)"
                        : HTML.link("\(release.run)", ["runs", "\(release.run)"]),
                    "\(release.lists.map(Output.count) ?? "")", "\(release.k), \(release.format)",
                    "\(release.bytes.map(Output.bytes) ?? "")", "\(release.churnWords)",
                ] + quality + [
                    "\(release.liveAt ?? "")",
                    release.state == "retired"
                        ? visitor.button(
                            "Roll back to it",
                            HTML.path(["feeds", release.feed, "rollback"]),
                            [("release", "\(release.number)")],
                            asking:
                                "Send the readers of \(release.feed) to release \(release.number)?"
                        ) : "",
                ]
            )
        }
        return HTML.table(
            "The newest \(Self.mostReleases) at most",
            [
                "release", "state", "readers", "run", "lists", "k", "size", "changed", "ndcg",
                "coverage", "live since", "",
            ],
            rows,
            numbers: [4, 6]
        )
    }

    private func hindsight(_ releases: [Releases.Release]) async throws -> HTML {
        guard let live = releases.first(where: { $0.state == "live" }) else { return "" }
        let results = RunResults(
            try await services.runs.results(of: live.run, named: ["hindsight"])
        )
        guard let found: HindsightResult = try? results.find("hindsight") else { return "" }
        return Card.section(of: found)
    }

    private func hidden(
        _ hidden: [ServingRules.HiddenItem],
        _ feed: String,
        _ visitor: DashboardPage.Visitor
    ) -> HTML {
        let table =
            hidden.isEmpty
            ? "<p>None is.</p>\n"
            : HTML.table(
                hidden.count > Self.mostHidden
                    ? "\(Self.mostHidden) of \(Output.count(hidden.count)), the newest last"
                    : "In none of the lists, from the next lookup on",
                ["item", "since", ""],
                hidden.suffix(Self.mostHidden).map {
                    [
                        "<code>\($0.item)</code>", "\($0.hiddenAt)",
                        visitor.button(
                            "Bring back",
                            HTML.path(["feeds", feed, "unhide"]),
                            [("item", $0.item)]
                        ),
                    ]
                }
            )
        return table + visitor.field("Item", "item", "Hide", HTML.path(["feeds", feed, "hide"]))
    }
}
