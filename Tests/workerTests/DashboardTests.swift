// SPDX-License-Identifier: Apache-2.0
import Foundation
import HTTPTypes
import Jobs
import Testing

@testable import worker

struct DashboardTests {
    private func cookie(_ header: String) -> HTTPFields {
        [.cookie: "a=b; " + header.prefix { $0 != ";" } + "; c=d"]
    }

    @Test func `a session ends with its time, its token, and a changed letter`() throws {
        let sessions = BrowserSessions(token: "t")
        let now = Date.now
        let header = sessions.opening(isSecure: true, now: now)
        #expect(header.hasSuffix("; Secure"))
        let sent = cookie(header)
        let session = try #require(sessions.session(of: sent, now: now))
        #expect(sessions.session(of: sent, now: now + 11 * 3600) == session)
        #expect(sessions.session(of: sent, now: now + 13 * 3600) == nil)
        #expect(BrowserSessions(token: "u").session(of: sent, now: now) == nil)
        for place in session.indices {
            var changed = session
            changed.replaceSubrange(place...place, with: session[place] == "1" ? "2" : "1")
            #expect(sessions.session(of: cookie("larder=\(changed)"), now: now) == nil)
        }
        for value in ["", "larder=", "larder=1.2", "larder=1.2.3", "larder=9999999999.a."] {
            #expect(sessions.session(of: [.cookie: value]) == nil)
        }
        #expect(sessions.session(of: [:]) == nil)

        let form = sessions.formToken(of: session)
        #expect(sessions.isFormToken(form, of: session))
        #expect(!sessions.isFormToken("", of: session) && !sessions.isFormToken("zz", of: session))
        #expect(!sessions.isFormToken(form, of: session + "0"))
        #expect(!sessions.isFormToken(form + "00", of: session))
        // What signs in is no form's, nor the other way round.
        #expect(!sessions.isFormToken(String(session.split(separator: ".")[2]), of: session))
    }

    @Test func `a step stands behind all that it waits for`() {
        typealias Step = Runs.Graph.Step
        let steps = [
            Step(id: 1, job: 1, name: "prepare", succeeded: 1, fraction: 1),
            Step(id: 2, job: 2, name: "train", running: 1, fraction: 0.25),
            Step(id: 4, job: 4, name: "collect"),
            Step(id: -7, job: 5, name: "predict 1/3", jobs: 3, succeeded: 1, failed: 1),
            Step(id: 3, job: 3, name: "a name that is <long>"),
        ]
        let graph = Runs.Graph(
            steps: steps,
            edges: [(1, 2), (2, -7), (-7, 4), (1, 4), (1, 3), (3, 4), (9, 4)].map {
                Runs.Graph.Edge(from: $0.0, to: $0.1)
            }
        )
        #expect(RunGraph.levels(graph) == [1: 0, 2: 1, 3: 1, -7: 2, 4: 3])
        #expect(
            steps.map { RunGraph.words($0).text } == [
                "succeeded", "25 %", "waiting", "1 of 3, 1 failed", "waiting",
            ]
        )
        #expect(RunGraph.words(steps[3]).state == "failed")
        let drawing = RunGraph(graph, of: 3).drawing.description
        #expect(drawing.contains("aria-label=\"predict × 3: 1 of 3, 1 failed\""))
        #expect(drawing.contains("a name that is …") && !drawing.contains("<long>"))
        // The edge from a step that is not of the run is not drawn.
        #expect(drawing.matches(of: /class="edge"/).count == 6)
        #expect(
            RunGraph(Runs.Graph(steps: [], edges: []), of: 1).drawing.description.contains("svg")
        )
    }

    @Test func `one is sent to pages of ours only`() {
        for target in ["/", "/runs/3", "/jobs?state=failed&run=3", "/feeds/a%2Fb?id=%20%C3%A9"] {
            #expect(Dashboard.isOurs(target))
        }
        for target in [
            "", "runs", "//evil.example", "/\\evil.example", "https://evil.example",
            "/\t/evil.example",
            "//\u{301}@evil.example/x", "/\u{301}/evil.example", "/runs/\r\nX: y", "/a\\b", "/ ",
        ] {
            #expect(!Dashboard.isOurs(target), "\(target)")
        }
    }

    @Test func `paths and questions are escaped`() {
        #expect(HTML.path(["feeds", "a/b ?é"]) == "/feeds/a%2Fb%20%3F%C3%A9")
        let link = HTML.link("<x>", ["jobs"], ["queue": "a&b", "kind": "c=d"]).description
        #expect(link == "<a href=\"/jobs?kind=c%3Dd&amp;queue=a%26b\">&lt;x&gt;</a>")
    }
}
