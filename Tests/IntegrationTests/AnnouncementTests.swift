// SPDX-License-Identifier: Apache-2.0
import Foundation
import Postgres
import Subprocess
import SystemPackage
import TestSupport
import Testing

@testable import Jobs
@testable import Transfer

/// Runs that others are told of: a tracking server, and receivers of web-hooks that check what comes
/// with the specification's own library.
@Suite(.serialized, .timeLimit(Effort.limit)) struct AnnouncementTests {
    private let checkerboard: CheckerboardFeed
    /// Answers as badly as it is asked to.
    private let web: String
    private let hook = "/hooks/\(UUID().uuidString)"

    init() throws {
        checkerboard = try CheckerboardFeed()
        web = try #require(
            ProcessInfo.processInfo.environment["TEST_WEB"],
            "run through Tests/with-servers.sh"
        )
    }

    private func pipeline(
        _ feed: String,
        _ announcements: String,
        model: String = CheckerboardFeed.good,
        check: String = "[]",
        users: Int = 200
    ) throws -> String {
        let path = try checkerboard.pipeline(
            feed: feed,
            model: model,
            check: check,
            k: 3,
            users: users
        )
        let text = try String(contentsOfFile: path, encoding: .utf8)
        return try checkerboard.folder.write(text + "\n" + announcements, to: "pipeline.yaml")
    }

    // MARK: web-hooks

    private struct Message: Decodable {
        struct Body: Decodable {
            struct Contents: Decodable {
                struct Value: Decodable { let value: Double }
                struct Failure: Decodable { let job: String, error: String }
                let run: Int
                let feed: String
                let release: Int?
                let metrics: [String: Value]
                let verdict: String?
                let errors: [Failure]
            }
            let type: String
            let timestamp: String
            let data: Contents
        }
        let id: String
        let body: Body
        let problem: String?
        let signed: Bool
    }

    private func received() throws -> [Message] {
        let answer = try HTTP.perform(HTTPRequest("GET", "\(web)/received?\(hook)", name: "web"))
        return try JSONDecoder().decode([Message].self, from: Data(answer.body))
    }

    @Test func `a receiver that is busy at first is told of the end once, with a good signature`()
        async throws
    {
        try await checkerboard.with { larder, _ in
            let feed = TestServers.uniqueFeed()
            let worker = try await larder.start("worker")
            defer { worker.kill() }
            let url = "\(web)\(hook)?busy=1&secret=\(Larder.secret)"
            let file = try pipeline(feed, "notify: [{ url: '\(url)', secret: TEST_SECRET }]")
            let run = try await larder.run("run", file, "--follow")
            #expect(run.status == 0, "\(run)")
            // The address has what may be a secret: its host is enough.
            #expect(!(run.output + run.errors).contains(hook))
            try await waitUntil("it is told") {
                try await larder.run("runs", "show", "1").output.contains("told the web-hook at")
            }
            let messages = try received()
            #expect(messages.count == 2 && Set(messages.map(\.id)).count == 1)
            #expect(messages.allSatisfy { $0.problem == nil && $0.signed }, "\(messages)")
            let body = try #require(messages.last?.body)
            #expect(body.type == "run.finished")
            #expect(body.data.run == 1 && body.data.feed == feed && body.data.release == 1)
            #expect((body.data.metrics["ndcg@3"]?.value ?? 0) > 0.05)
            #expect(body.data.verdict?.contains("better than popularity") == true)
            #expect(try Date(body.timestamp, strategy: .iso8601) < .now)
        }
    }

    @Test func `a refused run and a failed one are told apart, each to those who ask`() async throws
    {
        try await checkerboard.with { larder, runs in
            let feed = TestServers.uniqueFeed()
            let worker = try await larder.start("worker")
            defer { worker.kill() }
            let file = try pipeline(
                feed,
                """
                notify:
                  - { url: '\(web)\(hook)', events: [refused, finished] }
                  - { url: '\(web)\(hook)?gone', events: [failed] }
                """,
                check: "[ndcg@3 >= 2]"
            )
            #expect(try await larder.run("run", file, "--follow").status == 1)
            try await waitUntil("it is told") { try received().count == 1 }
            let refused = try #require(try received().first)
            #expect(refused.body.type == "run.refused" && !refused.signed)
            #expect(refused.body.data.errors.first?.job == "gate")
            #expect(refused.body.data.errors.first?.error.contains("ndcg@3 >= 2: ") == true)
            // Forced, it ends once more, and is told once more.
            #expect(try await larder.run("runs", "force", "1", "--reason", "a test").status == 0)
            try await larder.waitForRun(1)
            try await waitUntil("it is told again") { try received().count == 2 }
            #expect(try received()[1].body.type == "run.finished")
            // One of an earlier end, that comes late, is not sent as if it were of this one.
            let late = try await Queue(runs.client).enqueue(
                "notify",
                args: #"{"run": 1, "hook": 0}"#
            )
            try await waitUntil("it has ended") { try await runs.job(late).state == "succeeded" }
            #expect(try received().count == 2)
            let broken = try pipeline(
                feed,
                "notify: [{ url: '\(web)\(hook)?gone', events: [failed] }]",
                model: "{ kind: prod2vec, min-count: 1000000 }"
            )
            let failed = try await larder.run("run", broken, "--follow")
            #expect(failed.status == 1)
            #expect(failed.output.contains("not told: the web-hook at "), "\(failed)")
            #expect(failed.output.contains("the server answers 410: it wants no more of them"))
            #expect(try received().last?.body.type == "run.failed")
        }
    }

    @Test func `a worker that leaves when the queue is empty tells before it does`() async throws {
        try await checkerboard.with { larder, runs in
            let feed = TestServers.uniqueFeed()
            let file = try pipeline(feed, "notify: [{ url: '\(web)\(hook)' }]")
            #expect(try await larder.run("run", file).status == 0)
            #expect(try await larder.run("worker", "--drain").status == 0)
            #expect(try await runs.run(1).state == "succeeded")
            #expect(try received().count == 1)
        }
    }

    // MARK: MLflow

    /// A server of the test's own; it ends with `body`.
    private func withMLflow(_ body: (String) async throws -> Void) async throws {
        let python = FileManager.default.currentDirectoryPath + "/.tools/bin/python"
        let port = try await Subprocess.run(
            .path(FilePath(python)),
            arguments: [
                "-c",
                "import socket; s = socket.socket(); s.bind(('127.0.0.1', 0)); print(s.getsockname()[1])",
            ],
            output: .string(limit: 100)
        ).standardOutput.trimmingCharacters(in: .whitespacesAndNewlines)
        let folder = checkerboard.folder.path
        let server = try await BackgroundProcess(
            .path(FilePath(python)),
            [
                "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", port, "--workers", "1",
                "--backend-store-uri", "sqlite:///\(folder)/mlflow.db",
                "--artifacts-destination", "\(folder)/mlflow",
            ],
            environment: .inherit.updating([
                "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", "MLFLOW_DISABLE_TELEMETRY": "true",
            ]),
            log: .open(
                FilePath("\(folder)/mlflow.log"),
                .writeOnly,
                options: [.create, .append],
                permissions: .ownerReadWrite
            )
        )
        let url = "http://127.0.0.1:\(port)"
        do {
            try await waitUntil("MLflow answers", within: .seconds(120)) {
                (try? HTTP.once(HTTPRequest("GET", "\(url)/health", name: "MLflow")).status) == 200
            }
            try await body(url)
        } catch {
            _ = try await server.terminate()
            throw error
        }
        _ = try await server.terminate()
    }

    private struct Tracked: Decodable {
        struct Info: Decodable {
            let run_id: String
            let run_name: String
            let status: String
            let end_time: Int?
        }
        struct Pair: Decodable { let key: String, value: String }
        struct Metric: Decodable { let key: String, value: Double }
        struct Contents: Decodable {
            let metrics: [Metric]?
            let params: [Pair]?
            let tags: [Pair]?
        }
        let info: Info
        let data: Contents

        func tag(_ key: String) -> String? { data.tags?.first { $0.key == key }?.value }
        func parameter(_ key: String) -> String? { data.params?.first { $0.key == key }?.value }
        func metric(_ key: String) -> Double? { data.metrics?.first { $0.key == key }?.value }
    }

    private func get(_ url: String) throws -> Data {
        Data(try HTTP.perform(HTTPRequest("GET", url, name: "MLflow")).body)
    }

    private func runs(_ server: String, in experiment: String) throws -> [Tracked] {
        struct Found: Decodable {
            struct Experiment: Decodable { let experiment_id: String }
            let experiment: Experiment
        }
        struct Runs: Decodable { let runs: [Tracked]? }
        let api = "\(server)/api/2.0/mlflow"
        guard
            let found = try? JSONDecoder().decode(
                Found.self,
                from: get("\(api)/experiments/get-by-name?experiment_name=\(experiment)")
            )
        else { return [] }
        let query = #"{"experiment_ids":["\#(found.experiment.experiment_id)"]}"#
        let answer = try HTTP.perform(
            HTTPRequest(
                "POST",
                "\(api)/runs/search",
                headers: ["Content-Type": "application/json"],
                body: .bytes(Array(query.utf8)),
                name: "MLflow"
            )
        )
        return try JSONDecoder().decode(Runs.self, from: Data(answer.body)).runs ?? []
    }

    @Test func `MLflow has settings, curves while they grow, arms, quality and the card`()
        async throws
    {
        try await withMLflow { server in
            try await checkerboard.with { larder, _ in
                let feed = TestServers.uniqueFeed()
                let worker = try await larder.start("worker")
                defer { worker.kill() }
                let file = try pipeline(
                    feed,
                    "track: { mlflow: \(server), experiment: tests }",
                    // Long enough to be seen at it.
                    model: CheckerboardFeed.two.replacing("[1, 300]", with: "[1, 1000]"),
                    users: 20_000
                )
                #expect(try await larder.run("run", file).status == 0)
                try await waitUntil("the curve of the long arm grows") {
                    try runs(server, in: "tests").contains { run in
                        run.info.run_name.hasPrefix("arm 2") && run.info.status == "RUNNING"
                            && run.metric("alpha") != nil
                    }
                }
                #expect(try await larder.run("jobs", "--kind", "train").output.contains("running"))
                #expect(try await larder.run("runs", "cancel", "1").status == 0)
                try await waitUntil("MLflow knows that it was cancelled, with its arms") {
                    let runs = try runs(server, in: "tests")
                    return runs.count == 3 && runs.allSatisfy { $0.info.status == "KILLED" }
                        && runs.contains { $0.tag("larder.state") == "cancelled" }
                }

                let whole = try pipeline(
                    feed,
                    "track: { mlflow: \(server) }",
                    model: CheckerboardFeed.two
                )
                let second = try await larder.run("run", whole, "--follow")
                #expect(second.status == 0)
                #expect(second.output.contains("tracked at \(server)/#/experiments/"), "\(second)")
                let all = try runs(server, in: feed)
                #expect(all.count == 3 && all.allSatisfy { $0.info.status == "FINISHED" })
                let own = try #require(all.first { $0.info.run_name == "\(feed) 2" })
                #expect(own.parameter("model.prod2vec.epochs") == "300")
                #expect(own.parameter("predict.rules.k") == "3")
                #expect(
                    (own.metric("test/ndcg_at_3") ?? 0) > (own.metric("popularity/ndcg_at_3") ?? 9)
                )
                #expect(own.tag("larder.release") == "1")
                #expect(own.tag("mlflow.note.content")?.contains("better than popularity") == true)
                let arms = all.filter { $0.tag("mlflow.parentRunId") == own.info.run_id }
                #expect(Set(arms.compactMap { $0.tag("larder.fate") }) == ["chosen", "not chosen"])
                #expect(
                    arms.allSatisfy {
                        $0.metric("ndcg_at_10") != nil || $0.metric("ndcg_at_3") != nil
                    }
                )
                #expect(arms.allSatisfy { ($0.metric("cost/seconds") ?? -1) >= 0 })
                #expect(
                    Set(arms.compactMap { $0.parameter("model.prod2vec.epochs") }) == ["1", "300"]
                )
                let card = try get(
                    "\(server)/get-artifact?path=card.html&run_uuid=\(own.info.run_id)"
                )
                #expect(String(decoding: card, as: UTF8.self).hasPrefix("<!doctype html>"))
            }
        }
    }

    @Test(arguments: ["http://127.0.0.1:1", "silent"])
    func `a tracker that cannot be reached, or hangs, fails no run and is told`(_ tracker: String)
        async throws
    {
        try await checkerboard.with { larder, runs in
            let feed = TestServers.uniqueFeed()
            let worker = try await larder.start("worker")
            defer { worker.kill() }
            let url = tracker == "silent" ? "\(web)/\(UUID().uuidString)?silent=" : tracker
            let file = try pipeline(feed, "track: { mlflow: '\(url)' }")
            let run = try await larder.run("run", file, "--follow")
            #expect(run.status == 0, "\(run)")
            #expect(run.output.contains("release 1 of \"\(feed)\" is live"))
            try await waitUntil("it is told", within: .seconds(90)) {
                let shown = try await larder.run("runs", "show", "1")
                return shown.output.contains("not told: MLflow at 127.0.0.1")
                    && shown.output.contains("it will be tried again")
            }
            #expect(try await runs.run(1).state == "succeeded")
        }
    }
}
