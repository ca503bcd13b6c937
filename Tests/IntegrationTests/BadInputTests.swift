// SPDX-License-Identifier: Apache-2.0
import Foundation
import Postgres
import TestSupport
import Testing

/// What the `larder` binary says to wrong words, bad events and servers that are not there.
@Suite(.serialized, .timeLimit(Effort.limit)) struct BadInputTests {
    private let files: CommandFeed

    init() throws { files = try CommandFeed() }

    @Test(arguments: [
        ("user,item,time\n", "has no rows"),
        ("user,thing,time\na,b,1\n", "has no column \"item\""),
        ("user,item,time\na,x,1\n", "nothing to test on"),
        ("user,item,time\na,x,1\na,y,2\nb,y,1\nb,x,2\n", "every list came out empty"),
        ("user,item,time\na,x,1\na,y,2\n", "none of the 2 items occurs at least 50 times"),
    ])
    func `bad events fail the run, say why, and publish nothing`(
        _ events: String,
        _ words: String
    ) async throws {
        try await files.with { larder in
            let feed = TestServers.uniqueFeed()
            let worker = try await larder.start("worker")
            defer { worker.kill() }
            let model =
                words.contains("50 times")
                ? "{ kind: prod2vec, min-count: 50 }" : "{ kind: popularity }"
            let run = try await larder.run(
                "run",
                files.pipeline(feed: feed, events: events, model: model),
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
        try await files.with { larder in
            let feed = TestServers.uniqueFeed()
            let worker = try await larder.start("worker")
            defer { worker.kill() }
            let run = try await larder.run(
                "run",
                files.pipeline(
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
        try await files.with { larder in
            let worker = try await larder.start("worker")
            defer { worker.kill() }
            let file = try files.pipeline(feed: TestServers.uniqueFeed())
            try FileManager.default.removeItem(atPath: files.folder.path + "/events.csv")
            #expect(try await larder.run("run", file).status == 0)
            let client = Client(ConnectionSettings(larder.database))
            try await waitUntil("the file is missed") {
                try await files.jobs(client, "last_error LIKE '%events.csv: No such file%'") > 0
            }
        }
    }

    @Test func `a feed being made is not started twice`() async throws {
        try await files.with { larder in
            let file = try files.pipeline(feed: TestServers.uniqueFeed())
            #expect(try await larder.run("run", file).status == 0)
            let second = try await larder.run("run", file)
            #expect(second.status == 75)
            #expect(second.errors.contains("is being made already, by run 1"))
        }
    }

    @Test func `wrong words on the command line are told with their cure`() async throws {
        try await files.with { larder in
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
            home: files.folder.path + "/h"
        )
        let first = try await noPostgres.run("runs")
        #expect(first.status == 69)
        #expect(first.errors.contains("Postgres cannot be reached"))
        try await TestServers.withDatabase { database in
            let noRedis = Larder(
                database: database.target,
                redis: "redis://127.0.0.1:1",
                home: files.folder.path + "/h"
            )
            let second = try await noRedis.run("lookup", "f", "x")
            #expect(second.status == 69)
            #expect(second.errors.contains("Redis cannot be reached: 127.0.0.1:1"))
        }
        try await TestServers.withEmptyDatabase { database async throws in
            let empty = Larder(
                database: database.target,
                redis: redis,
                home: files.folder.path + "/h"
            )
            #expect(try await empty.run("runs").errors.contains("run `larder migrate`"))
            #expect(try await empty.run("migrate").status == 0)
            #expect(try await empty.run("runs").status == 0)
        }
    }

    @Test func `a Redis that is full keeps the old release live`() async throws {
        let server = try await OwnRedis(arguments: ["--maxmemory-policy", "noeviction"])
        try await files.with(redis: server.url) { larder in
            let feed = TestServers.uniqueFeed()
            let worker = try await larder.start("worker")
            defer { worker.kill() }
            #expect(try await larder.run("run", files.pipeline(feed: feed), "--follow").status == 0)
            try await server.command("CONFIG", "SET", "maxmemory", "1mb")
            #expect(try await larder.run("run", files.pipeline(feed: feed)).status == 0)
            let client = Client(ConnectionSettings(larder.database))
            try await waitUntil("Redis is full") {
                try await files.jobs(client, "last_error LIKE '%out of memory%'") > 0
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
