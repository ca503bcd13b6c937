// SPDX-License-Identifier: Apache-2.0
import CacheWriter
import Foundation
import Postgres
import Subprocess
import SystemPackage
import TestSupport
import Testing

/// `larder serve`, asked as services ask it.
@Suite(.timeLimit(Effort.limit)) struct ServeTests {
    private let feed: ServedFeed

    init() throws { feed = try ServedFeed() }

    @Test func `one id, many ids, unknown ids`() async throws {
        let cache = try await feed.write(
            1...2,
            to: RedisClient(TestServers.redis),
            format: .packedScored
        )
        try await feed.with { served, _ in
            let one = try await served.get("/v1/feeds/\(feed.name)/u3?k=2")
            #expect(one.status == 200 && one.headers["content-type"] == "application/json")
            #expect(one.json["items"] as? [String] == ["1", "i4"])
            #expect(one.json["scores"] as? [Double] == [4, 3])
            #expect(one.json["release"] as? Int == 1 && one.json["source"] as? String == "list")
            #expect(one.json["arm"] == nil && one.json["id"] as? String == "u3")
            #expect(UUID(uuidString: one.json["event"] as? String ?? "") != nil)
            let time = try #require(one.json["time"] as? Int)
            #expect(abs(Double(time) / 1000 - Date.now.timeIntervalSince1970) < 600)

            let unknown = try await served.get("/v1/feeds/\(feed.name)/no%2Fbody%20%E6%97%A5")
            #expect(unknown.json["id"] as? String == "no/body 日")
            #expect(unknown.json["source"] as? String == "default")
            #expect((unknown.json["items"] as? [String])?.count == 4)

            try await cache.write(
                [
                    .init(
                        .segment,
                        "New York & co",
                        ListEncoder(.packedScored, ids: ["9"]).encode([0], scores: [1])
                    )
                ],
                release: 1,
                expire: .seconds(600)
            )
            let segment = try await served.get(
                "/v1/feeds/\(feed.name)/nobody?segment=New+York+%26%20co"
            )
            #expect(segment.json["source"] as? String == "segment")
            #expect(segment.json["items"] as? [String] == ["9"])

            let many = try await served.get(
                "/v1/feeds/\(feed.name)",
                "-d",
                #"{"ids": ["u3", "nobody", "u3"], "k": 1}"#
            )
            let answers = try #require(many.json["answers"] as? [[String: Any]])
            #expect(answers.map { $0["id"] as? String } == ["u3", "nobody", "u3"])
            #expect(answers.map { $0["source"] as? String } == ["list", "default", "list"])
            #expect(answers.allSatisfy { $0["items"] as? [String] == ["1"] })

            let head = try await served.get("/v1/feeds/\(feed.name)/u3", "-I")
            #expect(head.status == 200 && head.body.isEmpty)

            // Hidden at once, also where the ETag would have said that nothing has changed.
            let tag = try #require(one.headers["etag"])
            #expect(
                try await served.get("/v1/feeds/\(feed.name)/u3", "-H", "If-None-Match: \(tag)")
                    .status
                    == 304
            )
            #expect(
                try await served.get(
                    "/v1/feeds/\(feed.name)/u3",
                    "-H",
                    "If-None-Match: W/\"2\(tag.dropFirst(3))"
                )
                .status == 200
            )
            try await cache.setRules(hidden: ["1"], split: nil, version: 1)
            let now = try await served.get(
                "/v1/feeds/\(feed.name)/u3?k=2",
                "-H",
                "If-None-Match: \(tag)"
            )
            #expect(now.json["items"] as? [String] == ["i4", "i5"])

            // And so with the arms of a split.
            try await cache.setRules(hidden: ["1"], split: Split("s A=1:1 B=2:1"), version: 2)
            for (arm, release) in [("A", 1), ("B", 2)] {
                let forced = try await served.get("/v1/feeds/\(feed.name)/u3?arm=\(arm)")
                #expect(forced.json["arm"] as? String == arm)
                #expect(forced.json["release"] as? Int == release)
            }
            let own = try await served.get("/v1/feeds/\(feed.name)/u3")
            #expect(own.json["arm"] as? String == Split("s A=1:1 B=2:1")?.arm(of: "u3").name)
            #expect(try await served.get("/v1/feeds/\(feed.name)/u3?arm=C").status == 404)
            let (before, after) = (try #require(now.headers["etag"]), own.headers["etag"])
            #expect(before != after)
        }
    }

    @Test func `a session is answered from the lists of its items`() async throws {
        let client = RedisClient(try TestServers.redis)
        _ = try await feed.write(1...1, to: client, listsFor: "items")
        try await feed.with { served, _ in
            // The list of i2 is 1, i3, i4, i5; that of i4 is 1, i5, i6, i7.
            let found = try await served.get("/v1/feeds/\(feed.name)?items=i2,i4&k=3")
            #expect(found.json["source"] as? String == "session")
            let fused: [String: Double] = [
                "1": 1.8 / 61, "i5": 0.0161290323 + 0.0125, "i6": 1.0 / 63, "i7": 1.0 / 64,
                "i3": 0.8 / 62,
            ]
            let best = fused.sorted { $0.value > $1.value }.prefix(3).map(\.key)
            #expect(found.json["items"] as? [String] == best)
            let posted = try await served.get(
                "/v1/feeds/\(feed.name)",
                "-d",
                #"{"items": ["i2", "i4"], "k": 3}"#
            )
            #expect(posted.json["items"] as? [String] == best)
            // Nothing but strangers, and what was met is never offered.
            let strangers = try await served.get("/v1/feeds/\(feed.name)?items=x,1")
            #expect(strangers.json["source"] as? String == "default")
            #expect(strangers.json["items"] as? [String] == ["i5", "i6", "i7"])
            // One list that cannot be read is not answered with what the others have.
            try await client.command("SET", "rec:\(feed.name):1:i4", "?")
            #expect(try await served.get("/v1/feeds/\(feed.name)?items=i2,i4").status == 503)
            #expect(try await served.get("/v1/feeds/\(feed.name)?items=i2,i3").status == 200)
        }
    }

    @Test func `what cannot be answered says why`() async throws {
        _ = try await feed.write(1...1, to: RedisClient(TestServers.redis))
        try await feed.with { served, _ in
            func refused(_ path: String, _ curl: String...) async throws -> (Int, String) {
                let found =
                    curl.isEmpty
                    ? try await served.get(path) : try await served.get(path, curl[0], curl[1])
                return (found.status, found.json["error"] as? String ?? "")
            }
            let here = "/v1/feeds/\(feed.name)"
            let cases: [(path: String, curl: String?, status: Int, words: String)] = [
                ("/v1/feeds/no-such-feed/u1", nil, 404, "has no live release"),
                ("/v1/feeds/No%20Feed/u1", nil, 404, "has no live release"),
                (here, nil, 400, "no id and no items"),
                (here + "?items=i1", nil, 400, "sessions are answered from lists for items"),
                (here + "/u1?k=0", nil, 400, "must be from 1 to 10000"),
                (here + "/u1?k=x", nil, 400, "must be a number"),
                (here + "/u1?kk=1", nil, 400, "no parameter \"kk\""),
                (here + "/u1?segment=", nil, 400, "the segment is empty"),
                (here + "/%ff", nil, 400, "not UTF-8"),
                (here + "/u1?segment=%ff", nil, 400, "not UTF-8"),
                (
                    here + "/" + String(repeating: "x", count: 513), nil, 400,
                    "longer than 512 bytes"
                ),
                (here, "{", 400, "is not what is asked with"),
                (here, #"{"ids": [1]}"#, 400, "is not what is asked with"),
                (here, #"{"ids": []}"#, 400, "there are 0 ids"),
                (here, #"{"ids": ["a"], "items": ["b"]}"#, 400, "either ids or items"),
                (here, #"{"ids": ["a"], "k": 10001}"#, 400, "must be from 1 to 10000"),
                (
                    here,
                    "{\"ids\": [" + (0...1000).map { "\"\($0)\"" }.joined(separator: ",") + "]}",
                    400,
                    "there are 1001 ids"
                ),
                ("/nothing", nil, 404, "not found"),
            ]
            for (path, body, status, words) in cases {
                let found =
                    if let body { try await refused(path, "-d", body) } else {
                        try await refused(path)
                    }
                #expect(found.0 == status && found.1.contains(words), "\(path.prefix(80)) \(found)")
            }
            let deleted = try await served.get(here + "/u1", "-X", "DELETE")
            #expect(deleted.status == 405 && deleted.headers["allow"] == "GET, HEAD")
        }
    }

    @Test func `with a token, only those who send it are let in`() async throws {
        _ = try await feed.write(1...1, to: RedisClient(TestServers.redis))
        try await feed.with(token: "open sesame") { served, _ in
            let here = "/v1/feeds/\(feed.name)/u1"
            let without = try await served.get(here)
            #expect(without.status == 401 && without.headers["www-authenticate"] == "Bearer")
            #expect(try await served.get(here, "-H", "Authorization: Bearer open").status == 401)
            #expect(try await served.get("/metrics").status == 401)
            #expect(
                try await served.get(here, "-H", "Authorization: Bearer open sesame").status == 200
            )
            for path in ["/healthz", "/readyz", "/openapi.json"] {
                #expect(try await served.get(path).status == 200)
            }
        }
    }

    @Test func `the document says what the server does`() async throws {
        _ = try await feed.write(1...1, to: RedisClient(TestServers.redis), format: .jsonScored)
        try await feed.with { served, _ in
            let result = try await Subprocess.run(
                .path(
                    FilePath(FileManager.default.currentDirectoryPath + "/.tools/bin/schemathesis")
                ),
                arguments: [
                    "run", "http://127.0.0.1:\(served.port)/openapi.json", "--max-examples", "20",
                    "--checks", "all", "--exclude-checks",
                    "unsupported_method,missing_required_header",
                    "--seed", "1", "--workers", "1",
                    "--no-color",
                ],
                workingDirectory: FilePath(feed.folder.path),
                output: .string(limit: 1 << 22),
                error: .string(limit: 1 << 16)
            )
            #expect(result.terminationStatus.isSuccess, "\(result.standardOutput.suffix(6000))")
        }
    }

    @Test func `metrics count lists by their source, and tell of jobs and releases`() async throws {
        let files = try CommandFeed()
        try await files.with { larder in
            let feed = TestServers.uniqueFeed()
            let worker = try await larder.start("worker")
            defer { worker.kill() }
            let file = try files.pipeline(feed: feed, model: "{ kind: popularity }")
            #expect(try await larder.run("run", file, "--follow").status == 0)
            #expect(try await larder.run("hide", feed, "i3").status == 0)
            let served = try await Served(larder, log: files.folder.path + "/serve.log")
            defer { served.process.kill() }
            for id in ["u1", "u2", "nobody"] { _ = try await served.get("/v1/feeds/\(feed)/\(id)") }
            let page = try await served.get("/metrics")
            let script = """
                import sys
                from prometheus_client.parser import text_string_to_metric_families as read
                for family in read(sys.stdin.read()):
                    for s in family.samples:
                        print(s.name, ",".join(f"{k}={v}" for k, v in sorted(s.labels.items())), s.value)
                """
            let parsed = try await Subprocess.run(
                .path(".tools/bin/python"),
                arguments: ["-c", script],
                input: .string(page.body),
                output: .string(limit: 1 << 20),
                error: .string(limit: 1 << 16)
            )
            let lines = Set(parsed.standardOutput.split(separator: "\n").map(String.init))
            for line in [
                "larder_lookups_total feed=\(feed),source=list 2",
                "larder_lookups_total feed=\(feed),source=default 1",
                "larder_http_requests_total route=/v1/feeds/{feed}/{id},status=200 3",
                "larder_http_request_seconds_count route=/v1/feeds/{feed}/{id} 3",
                "larder_http_request_seconds_bucket le=+Inf,route=/v1/feeds/{feed}/{id} 3",
                "larder_redis_up  1", "larder_postgres_up  1",
                "larder_release feed=\(feed) 1", "larder_hidden_items feed=\(feed) 1",
                "larder_release_lists feed=\(feed) 40",
                "larder_jobs queue=default,state=ready 0",
                "larder_jobs_last_hour kind=train,queue=default,state=succeeded 2",
            ] {
                let isThere = lines.contains(line)
                #expect(isThere, "\(line) is not in\n\(parsed.standardOutput)")
            }
        }
    }
}
