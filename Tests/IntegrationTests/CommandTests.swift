// SPDX-License-Identifier: Apache-2.0
import Foundation
import Postgres
import TestSupport
import Testing

/// The `larder` binary as a user types it.
@Suite(.serialized) struct CommandTests {
    private let folder: TemporaryFolder

    init() throws { folder = try TemporaryFolder() }

    private func pipeline(
        feed: String,
        events: String? = nil,
        predict: String = "{ for: users, k: 5, shard: 7 }",
        model: String = "{ kind: prod2vec, vector-size: 8, min-count: 1, epochs: 300, sample: 0 }",
        more: String = ""
    ) throws -> String {
        let path = try folder.write(events ?? Checkerboard.csv(), to: "events.csv")
        return try folder.write(
            """
            feed: \(feed)
            dataset:
              source: { csv: \(path) }
              columns: { user: user, item: item, time: time }
            \(more)
            model: \(model)
            predict: \(predict)
            publish: { expire: 1h, format: json }
            """,
            to: "pipeline.yaml"
        )
    }

    private func with(_ body: (Larder) async throws -> Void) async throws {
        try await TestServers.withDatabase { database in
            try await body(
                Larder(
                    database: database.target,
                    redis: TestServers.redisURL,
                    home: folder.path + "/home"
                )
            )
        }
    }

    // MARK: the main job

    @Test func `events become lists that a plain GET reads`() async throws {
        try await with { larder in
            let feed = TestServers.uniqueFeed()
            let worker = try larder.start("worker")
            defer { worker.kill() }
            let run = try await larder.run("run", pipeline(feed: feed), "--follow")
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

            #expect(try await larder.run("run", pipeline(feed: feed), "--follow").status == 0)
            #expect(try await larder.run("run", pipeline(feed: feed), "--follow").status == 0)
            let releases = try await larder.run("releases", feed).output
            #expect(releases.contains("live") && releases.contains("retired"))
            #expect(releases.contains("collected"))
            let back = try await larder.run("rollback", feed)
            #expect(back.output == "release 2 of \"\(feed)\" is live; it was 3\n")
            let gone = try await larder.run("rollback", feed, "1")
            #expect(gone.status == 64)
            #expect(gone.errors.contains("release 1 of \"\(feed)\" is not in Redis any more"))

            // The next run keeps what was live last, not what has the higher number.
            #expect(try await larder.run("run", pipeline(feed: feed), "--follow").status == 0)
            #expect(
                try await larder.run("rollback", feed).output
                    == "release 2 of \"\(feed)\" is live; it was 4\n"
            )

            let exported = try await larder.run("export", feed, folder.path + "/v.txt")
            #expect(exported.output.hasPrefix("20 vectors written"))
            let lines = try String(contentsOfFile: folder.path + "/v.txt", encoding: .utf8)
                .split(separator: "\n")
            #expect(lines.first == "20 8" && lines.count == 21)
            #expect(lines.dropFirst().allSatisfy { $0.split(separator: " ").count == 9 })
        }
    }

    @Test func `a run enqueued from SQL is made by a draining worker`() async throws {
        try await with { larder in
            let feed = TestServers.uniqueFeed()
            let file = try pipeline(feed: feed, predict: "{ for: items, k: 3 }")
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
        try await with { larder in
            let feed = TestServers.uniqueFeed()
            // Long enough to be caught at it.
            let file = try pipeline(
                feed: feed,
                events: Checkerboard.csv(users: 2000, items: 60),
                predict: "{ for: users, k: 5, shard: 40 }",
                model: "{ kind: prod2vec, vector-size: 32, min-count: 1, epochs: 60 }"
            )
            let client = Client(ConnectionSettings(larder.database))
            let victim = try larder.start("worker", "--slots", "1")
            #expect(try await larder.run("run", file).status == 0)
            try await waitUntil("a \(kind) job runs") {
                try await jobs(client, "kind = '\(kind)' AND state = 'running'") > 0
            }
            victim.kill()
            // What 45 s without heartbeats would do.
            try await client.execute("UPDATE larder.sessions SET expires_at = clock_timestamp()")
            let heir = try larder.start("worker", "--slots", "1")
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
        try await with { larder in
            let feed = TestServers.uniqueFeed()
            let file = try pipeline(
                feed: feed,
                events: Checkerboard.csv(users: 1000),
                model:
                    "{ kind: prod2vec, vector-size: 256, min-count: 1, epochs: 10000, sample: 0 }"
            )
            let client = Client(ConnectionSettings(larder.database))
            let worker = try larder.start("worker", "--slots", "1")
            #expect(try await larder.run("run", file).status == 0)
            try await waitUntil("the training runs") {
                try await jobs(client, "kind = 'train' AND state = 'running'") > 0
            }
            #expect(await worker.terminate() == 0)
            #expect(
                try await jobs(client, "kind = 'train' AND state = 'ready' AND attempt = 0") == 1
            )
            #expect(try await larder.run("runs", "cancel", "1").status == 0)
            #expect(try await larder.run("runs").output.contains("cancelled"))
        }
    }

    private func jobs(_ client: Client, _ condition: String) async throws -> Int {
        try await client.query("SELECT count(*) AS n FROM larder.jobs WHERE " + condition) {
            row throws(PostgresError) in try row.decode("n", Int.self)
        }[0]
    }

    // MARK: bad input

    @Test(arguments: [
        ("user,item,time\n", "has a header and no rows"),
        ("user,thing,time\na,b,1\n", "has no column \"item\""),
        ("user,item,time\na,x,1\n", "nothing to test on"),
        ("user,item,time\na,x,1\na,y,2\nb,y,1\nb,x,2\n", "every list came out empty"),
        ("user,item,time\na,x,1\na,y,2\n", "none of the 2 items occurs at least 50 times"),
    ])
    func `bad events fail the run, say why, and publish nothing`(
        _ events: String,
        _ words: String
    ) async throws {
        try await with { larder in
            let feed = TestServers.uniqueFeed()
            let worker = try larder.start("worker")
            defer { worker.kill() }
            let model =
                words.contains("50 times")
                ? "{ kind: prod2vec, min-count: 50 }" : "{ kind: popularity }"
            let run = try await larder.run(
                "run",
                pipeline(feed: feed, events: events, model: model),
                "--follow"
            )
            #expect(run.status == 1)
            #expect(run.output.contains(words), "\(run)")
            #expect(run.output.contains("run 1 failed"))
            #expect(
                try await larder.run("lookup", feed, "a").errors.contains("has no live release")
            )
        }
    }

    @Test func `one user with two events, and a k beyond the catalogue, still make a feed`()
        async throws
    {
        try await with { larder in
            let feed = TestServers.uniqueFeed()
            let worker = try larder.start("worker")
            defer { worker.kill() }
            let run = try await larder.run(
                "run",
                pipeline(
                    feed: feed,
                    events: "user,item,time\na,x,1\na,y,2\n",
                    predict: "{ for: users, k: 500, exclude: nothing }",
                    model: "{ kind: popularity }"
                ),
                "--follow"
            )
            #expect(run.status == 0, "\(run)")
            #expect(try await larder.run("lookup", feed, "a").output.contains("1. x\n2. y"))
        }
    }

    @Test func `a file that is not there fails the run with its name`() async throws {
        try await with { larder in
            let worker = try larder.start("worker")
            defer { worker.kill() }
            let file = try pipeline(feed: TestServers.uniqueFeed())
            try FileManager.default.removeItem(atPath: folder.path + "/events.csv")
            #expect(try await larder.run("run", file).status == 0)
            let client = Client(ConnectionSettings(larder.database))
            try await waitUntil("the file is missed") {
                try await jobs(client, "last_error LIKE '%events.csv: No such file%'") > 0
            }
        }
    }

    @Test func `a feed being made is not started twice`() async throws {
        try await with { larder in
            let file = try pipeline(feed: TestServers.uniqueFeed())
            #expect(try await larder.run("run", file).status == 0)
            let second = try await larder.run("run", file)
            #expect(second.status == 75)
            #expect(second.errors.contains("is being made already, by run 1"))
        }
    }

    @Test func `wrong words on the command line are told with their cure`() async throws {
        try await with { larder in
            #expect(try await larder.run("runn").status == 64)
            let kind = try await larder.run("enqueue", "rnu")
            #expect(kind.status == 64 && kind.errors.contains("there is no kind \"rnu\""))
            let json = try await larder.run("enqueue", "run", "--args", "{")
            #expect(json.status == 64 && json.errors.contains("must be a JSON object"))
            let file = try await larder.run("run", "/nowhere.yaml")
            #expect(file.status == 64)
            #expect(file.errors == "error: /nowhere.yaml: there is no such file\n")
            #expect(
                try await larder.run("runs", "show", "999").errors.contains("there is no run 999")
            )
            #expect(try await larder.run("lookup", "no-such-feed", "x").status == 64)
            #expect(try await larder.run("worker", "--slots", "0").status == 64)
            #expect(
                try await larder.run("--help").output.contains("larder run pipeline.yaml --follow")
            )
            #expect(
                try await larder.run("--generate-completion-script", "bash").output.contains(
                    "larder"
                )
            )
        }
    }

    @Test func `servers that are not there are told, with exit code 69`() async throws {
        let redis = try TestServers.redisURL
        let noPostgres = Larder(
            database: "host=127.0.0.1 port=1 user=x",
            redis: redis,
            home: folder.path + "/h"
        )
        let first = try await noPostgres.run("runs")
        #expect(first.status == 69)
        #expect(first.errors.contains("Postgres cannot be reached"))
        try await TestServers.withDatabase { database in
            let noRedis = Larder(
                database: database.target,
                redis: "redis://127.0.0.1:1",
                home: folder.path + "/h"
            )
            let second = try await noRedis.run("lookup", "f", "x")
            #expect(second.status == 69)
            #expect(second.errors.contains("Redis cannot be reached: 127.0.0.1:1"))
        }
        try await TestServers.withEmptyDatabase { database async throws in
            let empty = Larder(database: database.target, redis: redis, home: folder.path + "/h")
            #expect(try await empty.run("runs").errors.contains("run `larder migrate`"))
            #expect(try await empty.run("migrate").status == 0)
            #expect(try await empty.run("runs").status == 0)
        }
    }

    @Test func `a Redis that is full keeps the old release live`() async throws {
        let server = try await OwnRedis(arguments: ["--maxmemory-policy", "noeviction"])
        try await TestServers.withDatabase { database in
            let larder = Larder(
                database: database.target,
                redis: server.url,
                home: folder.path + "/home"
            )
            let feed = TestServers.uniqueFeed()
            let worker = try larder.start("worker")
            defer { worker.kill() }
            #expect(try await larder.run("run", pipeline(feed: feed), "--follow").status == 0)
            try await server.command("CONFIG", "SET", "maxmemory", "1mb")
            #expect(try await larder.run("run", pipeline(feed: feed)).status == 0)
            let client = Client(ConnectionSettings(database.target))
            try await waitUntil("Redis is full") {
                try await jobs(client, "last_error LIKE '%out of memory%'") > 0
            }
            #expect(try await larder.run("lookup", feed, "u1").output.contains("release 1"))
            // With room again, the retries bring the release out.
            try await server.command("CONFIG", "SET", "maxmemory", "0")
            try await client.execute(
                "UPDATE larder.jobs SET run_at = clock_timestamp() WHERE state = 'scheduled'"
            )
            try await larder.waitForRun(2)
            #expect(try await larder.run("lookup", feed, "u1").output.contains("release 2"))
        }
    }
}
