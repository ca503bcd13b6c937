// SPDX-License-Identifier: Apache-2.0
import Foundation
import Postgres
import TestSupport
import Testing

/// The `larder` binary as a user types it.
@Suite(.serialized, .timeLimit(Effort.limit)) struct CommandTests {
    private let files: CommandFeed

    init() throws { files = try CommandFeed() }

    // MARK: the main job

    @Test func `least squares make a feed, and are exported`() async throws {
        try await files.with { larder in
            let feed = TestServers.uniqueFeed()
            let worker = try await larder.start("worker")
            defer { worker.kill() }
            let settings = "{ kind: als, factors: 4, alpha: 10 }"
            let run = try await larder.run(
                "run",
                files.pipeline(feed: feed, model: settings),
                "--follow"
            )
            #expect(run.status == 0, "\(run)")
            #expect(run.output.contains("better than popularity"))
            let found = try await larder.run("lookup", feed, "u4", "-k", "1")
            #expect(found.output.contains(/i\d*[02468]\b/), "\(found)")
            let file = files.folder.path + "/vectors.txt"
            #expect(try await larder.run("export", feed, file).status == 0)
            #expect(try String(contentsOfFile: file, encoding: .utf8).hasPrefix("20 4\n"))
        }
    }

    @Test func `a session transformer learns day by day and makes lists for sessions`() async throws
    {
        try await files.with { larder in
            let feed = TestServers.uniqueFeed()
            let worker = try await larder.start("worker", "--slots", "2")
            defer { worker.kill() }
            // What comes next is four further on; on each day fifty sessions.
            func events(days: Int) -> String {
                var events = "user,item,time\n"
                for session in 0..<days * 50 {
                    for place in 0..<4 {
                        // Each day ends a little earlier than the one before.
                        let minute = session % 50 - session / 50
                        let time = 1_600_149_600 + session / 50 * 86_400 + minute * 60 + place
                        events += "s\(session),i\((session + place * 4) % 20),\(time)\n"
                    }
                }
                return events
            }
            func file(days: Int) throws -> String {
                try files.pipeline(
                    feed: feed,
                    events: events(days: days),
                    predict: "{ for: sessions, recent: 1d }",
                    model: """
                        { kind: session-transformer, width: 16, heads: 2, inner: 32, dropout: 0.1,
                          batch: 10, epochs: 20, learning-rate: 0.01, windows: day }
                        """,
                    more: "  split: { by: time, test: 20h }"
                )
            }
            let run = try await larder.run("run", file(days: 4), "--follow")
            #expect(run.status == 0, "\(run)")
            #expect(run.output.contains("each window, found by what was learned until then"))
            #expect(run.output.contains("2020-09-17  50 "), "\(run)")
            #expect(run.output.contains("better than popularity"))
            // Of the last day's session alone, and of no earlier one's.
            let last = try await larder.run("lookup", feed, "s199", "-k", "1")
            #expect(last.output.contains("1. i15"), "\(last)")
            let first = try await larder.run("lookup", feed, "s3")
            #expect(first.output.contains("has no list for s3"), "\(first)")
            let byHand = try await larder.run("predict", feed, "--session", "i3,i7", "-k", "1")
            #expect(byHand.output.contains("after i3, i7, by the model of release 1:"))
            #expect(byHand.output.contains("1. i11"), "\(byHand)")
            let unknown = try await larder.run("predict", feed, "--session", "i3,nothing")
            #expect(unknown.status == 64 && unknown.errors.contains("has no item \"nothing\""))
            let client = Client(ConnectionSettings(larder.database))
            let metrics = try await client.query(
                "SELECT count(*) AS n FROM larder.metrics WHERE name = 'train/window-recall@20'"
            ) { row throws(PostgresError) in try row.decode("n", Int.self) }
            #expect(metrics == [2])
            // The next day: what is live is measured on it as it is, and then learns from it.
            let next = try await larder.run("run", file(days: 5), "--follow")
            #expect(next.status == 0, "\(next)")
            #expect(next.output.contains("training goes on from model "), "\(next)")
            #expect(next.output.contains("no session began since then"))
            #expect(next.output.contains("better than popularity"))
            let newest = try await larder.run("lookup", feed, "s249", "-k", "1")
            #expect(newest.output.contains("1. i5"), "\(newest)")
            let windows = try await client.query(
                "SELECT count(*) AS n FROM larder.metrics WHERE name = 'refit/window-recall@20'"
            ) { row throws(PostgresError) in try row.decode("n", Int.self) }
            // Three of the first run, one of the second.
            #expect(windows == [4])
        }
    }

    @Test func `two towers find, a network orders, and both are refitted`() async throws {
        try await files.with { larder in
            let feed = TestServers.uniqueFeed()
            let worker = try await larder.start("worker", "--slots", "2")
            defer { worker.kill() }
            let model = """
                { kind: two-tower, embedding: 8, towers: [16, 8], batch: 50, epochs: 8,
                  optimizer: adamw, learning-rate: 0.01 }
                rank: { kind: rating-mlp, embedding: 8, layers: [16, 8], batch: 50, epochs: 20,
                  learning-rate: 0.03, candidates: 12 }
                """
            // The last item of each user is another one: no item is met less often in training.
            var events = "user,item,time\n"
            for user in 0..<100 {
                for place in 0..<9 {
                    let item = ((user / 2 + place * 3) * 2 + user % 2) % 20
                    events += "u\(user),i\(item),\(place)\n"
                }
            }
            let file = try files.pipeline(feed: feed, events: events, model: model)
            let run = try await larder.run("run", file, "--follow")
            #expect(run.status == 0, "\(run)")
            #expect(run.output.contains("better than popularity"))
            #expect(run.output.contains(/the ranking on 500 examples kept back: AUC 0.[89]/))
            #expect(run.output.contains("refit ranker"))
            let found = try await larder.run("lookup", feed, "u4", "-k", "1")
            #expect(found.output.contains(/i\d*[02468]\b/), "\(found)")
            // How both trainings went is in Postgres, while they run and after.
            let client = Client(ConnectionSettings(larder.database))
            for name in ["train/loss", "train ranker/loss", "refit/loss", "test/auc"] {
                let count = try await client.query(
                    "SELECT count(*) AS n FROM larder.metrics WHERE name = $1",
                    [Parameter(name)]
                ) { row throws(PostgresError) in try row.decode("n", Int.self) }
                #expect(count[0] > 0, "\(name)")
            }
        }
    }

    @Test func `events become lists that a plain GET reads`() async throws {
        try await files.with { larder in
            let feed = TestServers.uniqueFeed()
            let worker = try await larder.start("worker")
            defer { worker.kill() }
            let run = try await larder.run("run", files.pipeline(feed: feed), "--follow")
            #expect(run.status == 0, "\(run)")
            #expect(run.output.contains("release 1 of \"\(feed)\" is live: 40 lists"))
            #expect(run.output.contains("better than popularity"))
            #expect(run.output.contains("predict 6/6"))

            let found = try await larder.run("lookup", feed, "u3", "-k", "1", "--json")
            let answer = try #require(
                JSONSerialization.jsonObject(with: Data(found.output.utf8)) as? [String: Any]
            )
            #expect(answer["source"] as? String == "list")
            #expect(answer["release"] as? Int == 1)
            let first = (answer["entries"] as? [[String: Any]])?.first?["id"] as? String
            #expect(first.flatMap { Int($0.dropFirst()) }.map { $0 % 2 } == 1)

            let unknown = try await larder.run("lookup", feed, "nobody")
            #expect(
                unknown.output.contains("has no list for nobody; the default list of release 1")
            )

            #expect(try await larder.run("run", files.pipeline(feed: feed), "--follow").status == 0)
            #expect(try await larder.run("run", files.pipeline(feed: feed), "--follow").status == 0)
            let releases = try await larder.run("releases", feed).output
            #expect(releases.contains("live") && releases.contains("retired"))
            #expect(releases.contains("collected"))
            let back = try await larder.run("rollback", feed)
            #expect(back.output == "release 2 of \"\(feed)\" is live; it was 3\n")
            let gone = try await larder.run("rollback", feed, "1")
            #expect(gone.status == 64)
            #expect(gone.errors.contains("release 1 of \"\(feed)\" is not in Redis any more"))

            // The next run keeps what was live last, not what has the higher number.
            #expect(try await larder.run("run", files.pipeline(feed: feed), "--follow").status == 0)
            #expect(
                try await larder.run("rollback", feed).output
                    == "release 2 of \"\(feed)\" is live; it was 4\n"
            )

            let exported = try await larder.run("export", feed, files.folder.path + "/v.txt")
            #expect(exported.output.hasPrefix("20 vectors written"))
            let lines = try String(contentsOfFile: files.folder.path + "/v.txt", encoding: .utf8)
                .split(separator: "\n")
            #expect(lines.first == "20 8" && lines.count == 21)
            #expect(lines.dropFirst().allSatisfy { $0.split(separator: " ").count == 9 })
        }
    }

    @Test func `a failed run is looked at, mended and retried`() async throws {
        try await files.with { larder in
            let feed = TestServers.uniqueFeed()
            let file = try files.pipeline(feed: feed, events: "user,item,wrong\nu1,i1,1\n")
            #expect(try await larder.run("run", file).status == 0)
            #expect(try await larder.run("worker", "--drain").status == 0)
            let failed = try await larder.run("jobs", "--state", "failed", "--json").output
            let jobs = try #require(
                JSONSerialization.jsonObject(with: Data(failed.utf8)) as? [[String: Any]]
            )
            let id = try #require(jobs.first?["id"] as? Int)
            let shown = try await larder.run("jobs", "show", "\(id)").output
            #expect(shown.contains("prepare") && shown.contains("column \"time\""))
            #expect(shown.contains("kind prepare") && shown.contains("failed"))
            #expect(try await larder.run("jobs", "--kind", "check").output.contains("cancelled"))
            #expect(
                try await larder.run("jobs", "--kind", "nothing").output.split(separator: "\n")
                    .count == 1
            )

            _ = try files.folder.write(Checkerboard.csv(), to: "events.csv")
            let again = try await larder.run("runs", "retry", "1")
            #expect(again.output == "8 jobs of run 1 run again\n")
            #expect(try await larder.run("worker", "--drain").status == 0)
            #expect(try await larder.run("runs").output.contains("succeeded"))
            #expect(try await larder.run("lookup", feed, "u3").output.contains("release 1"))
            #expect(
                try await larder.run("runs", "retry", "1").output
                    == "nothing of run 1 has failed or was cancelled\n"
            )
            #expect(
                try await larder.run("jobs", "retry", "\(id)").output.hasPrefix("nothing to retry")
            )
            let missing = try await larder.run("jobs", "show", "99999")
            #expect(missing.status == 64 && missing.errors.contains("there is no job 99999"))
        }
    }

    @Test func `queues are paused and limited, schedules set and listed`() async throws {
        try await files.with { larder in
            #expect(
                try await larder.run("queues", "limit", "default", "3").output
                    == "at most 3 jobs of queue default run at a time\n"
            )
            #expect(try await larder.run("queues", "pause", "default").status == 0)
            #expect(try await larder.run("queues").output.contains("paused"))
            #expect(try await larder.run("queues", "resume", "default").status == 0)
            #expect(try await larder.run("queues", "pause", "nowhere").status == 64)

            let feed = TestServers.uniqueFeed()
            let file = try files.pipeline(feed: feed, more: "schedule: \"0 3 * * 7  Europe/Rome\"")
            let set = try await larder.run("schedules", "set", file)
            #expect(set.output.hasPrefix("schedule \(feed) is set; next: Sun "))
            let listed = try await larder.run("schedules").output
            #expect(listed.contains("0 3 * * 7 Europe/Rome, coalesce"))
            #expect(listed.components(separatedBy: "Sun ").count == 6)
            // What the clock does in the night: it is due, and a worker makes the run.
            let client = Client(ConnectionSettings(larder.database))
            try await client.execute(
                "UPDATE larder.schedules SET next_at = clock_timestamp() - interval '1 s'"
            )
            #expect(try await larder.run("worker", "--drain").status == 0)
            #expect(try await larder.run("lookup", feed, "u3").output.contains("release 1"))
            #expect(try await larder.run("schedules").output.contains("last job "))
            #expect(try await larder.run("schedules", "remove", feed).status == 0)
            #expect(try await larder.run("schedules").output.contains("there are none"))

            let bad = try files.pipeline(feed: feed, more: "schedule: \"0 30 * * *\"")
            let refused = try await larder.run("run", bad)
            #expect(refused.status == 64)
            #expect(refused.errors.contains("\"30\" in the hour field"))
        }
    }

    @Test func `a run enqueued from SQL is made by a draining worker`() async throws {
        try await files.with { larder in
            let feed = TestServers.uniqueFeed()
            let file = try files.pipeline(feed: feed, predict: "{ for: items, k: 3 }")
            let client = Client(ConnectionSettings(larder.database))
            try await client.execute(
                "SELECT larder.enqueue('run', jsonb_build_object('pipeline', $1::text))",
                [Parameter(file)]
            )
            let worker = try await larder.run("worker", "--drain", "--log-format", "json")
            #expect(worker.status == 0)
            let lines = worker.errors.split(separator: "\n").map { Data($0.utf8) }
            #expect(
                try lines.allSatisfy { try JSONSerialization.jsonObject(with: $0) is [String: Any] }
            )
            #expect(
                try await larder.run("lookup", feed, "i2", "-k", "1").output.contains("release 1")
            )
        }
    }

    @Test(arguments: ["train", "predict"])
    func `a worker killed in the middle costs time and nothing else`(_ kind: String) async throws {
        try await files.with { larder in
            let feed = TestServers.uniqueFeed()
            // Long enough to be caught at it.
            let file = try files.pipeline(
                feed: feed,
                events: Checkerboard.csv(users: 2000, items: 60),
                predict: "{ for: users, k: 5, shard: 40 }",
                model: "{ kind: prod2vec, vector-size: 32, min-count: 1, epochs: 60 }"
            )
            let client = Client(ConnectionSettings(larder.database))
            let victim = try await larder.start("worker", "--slots", "1")
            #expect(try await larder.run("run", file).status == 0)
            try await waitUntil("a \(kind) job runs") {
                try await files.jobs(client, "kind = '\(kind)' AND state = 'running'") > 0
            }
            victim.kill()
            // What 45 s without heartbeats would do.
            try await client.execute("UPDATE larder.sessions SET expires_at = clock_timestamp()")
            let heir = try await larder.start("worker", "--slots", "1")
            defer { heir.kill() }
            try await larder.waitForRun(1)
            #expect(try await larder.run("runs", "show", "1").output.contains("run 1 succeeded"))
            let killed = try await lists(client, larder, feed)

            // The same without anybody dying: one release a run, and the same lists.
            #expect(try await larder.run("run", file, "--follow").status == 0)
            #expect(try await lists(client, larder, feed) == killed)
            let releases = try await client.query(
                "SELECT count(*) AS n FROM larder.releases WHERE feed = $1",
                [Parameter(feed)]
            ) { row throws(PostgresError) in try row.decode("n", Int.self) }
            #expect(releases == [2])
        }
    }

    /// Some lists of the live release, without its number.
    private func lists(_ client: Client, _ larder: Larder, _ feed: String) async throws -> [String]
    {
        var found: [String] = []
        for user in stride(from: 0, to: 2000, by: 400) {
            let text = try await larder.run("lookup", feed, "u\(user)").output
            found.append(text.split(separator: "\n").dropFirst().joined(separator: "\n"))
        }
        return found
    }

    @Test func `a worker told to stop gives its job back and the run goes on`() async throws {
        try await files.with { larder in
            let feed = TestServers.uniqueFeed()
            let file = try files.pipeline(
                feed: feed,
                events: Checkerboard.csv(users: 1000),
                model:
                    "{ kind: prod2vec, vector-size: 256, min-count: 1, epochs: 10000, sample: 0 }"
            )
            let client = Client(ConnectionSettings(larder.database))
            let worker = try await larder.start("worker", "--slots", "1")
            #expect(try await larder.run("run", file).status == 0)
            try await waitUntil("the training runs") {
                try await files.jobs(client, "kind = 'train' AND state = 'running'") > 0
            }
            #expect(try await worker.terminate() == 0)
            #expect(
                try await files.jobs(client, "kind = 'train' AND state = 'ready' AND attempt = 0")
                    == 1
            )
            #expect(try await larder.run("runs", "cancel", "1").status == 0)
            #expect(try await larder.run("runs").output.contains("cancelled"))
        }
    }
}
