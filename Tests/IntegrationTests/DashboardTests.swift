// SPDX-License-Identifier: Apache-2.0
import CacheWriter
import Foundation
import Jobs
import Postgres
import Subprocess
import TestSupport
import Testing

/// The pages of `larder serve`, seen and used as a browser does.
@Suite(.timeLimit(Effort.limit)) struct DashboardTests {
    private let files: CommandFeed

    init() throws { files = try CommandFeed() }

    /// A browser that keeps its cookies.
    private struct Browser {
        let served: Served
        let cookies: String

        init(_ served: Served, _ folder: TemporaryFolder) {
            self.served = served
            cookies = folder.path + "/cookies-\(UUID().uuidString)"
        }

        func open(_ path: String) async throws -> Served.Response {
            try await served.get(path, "-H", "Accept: text/html", "-b", cookies, "-c", cookies)
        }

        func send(_ path: String, _ fields: String...) async throws -> Served.Response {
            let data = fields.map {
                $0.addingPercentEncoding(withAllowedCharacters: .urlQueryAllowed)
            }
            return try await served.get(
                path,
                "-H",
                "Accept: text/html",
                "-H",
                "Sec-Fetch-Site: same-origin",
                "-b",
                cookies,
                "-c",
                cookies,
                "-d",
                data.compactMap(\.self).joined(separator: "&")
            )
        }

        /// Presses the button of a page that sends to a path, and returns what comes of it.
        func press(_ action: String, on page: String, _ fields: String...) async throws
            -> Served.Response
        {
            let text = try await open(page).body
            try #require(text.contains("action=\"\(action)\""), "no \(action) on \(page):\n\(text)")
            let form = try #require(text.firstMatch(of: /name="form" value="([0-9a-f]+)"/))
            let all = (["form=\(form.1)"] + fields).joined(separator: "&")
            return try await send(action, all)
        }
    }

    private func signedIn(_ served: Served) async throws -> Browser {
        let browser = Browser(served, files.folder)
        let answer = try await browser.send("/login", "token=open sesame", "to=/runs")
        #expect(answer.status == 303 && answer.headers["location"] == "/runs")
        let cookie = answer.headers["set-cookie"] ?? ""
        #expect(cookie.hasSuffix("; HttpOnly; SameSite=Strict") && !cookie.contains("open"))
        return browser
    }

    private func serve(_ larder: Larder, token: String? = nil) async throws -> Served {
        try await Served(
            larder,
            log: files.folder.path + "/serve-\(UUID().uuidString).log",
            token: token
        )
    }

    @Test func `a feed from its run to its lists, and back`() async throws {
        try await files.with { larder in
            let feed = TestServers.uniqueFeed()
            let worker = try await larder.start("worker")
            defer { worker.kill() }
            let titles = try files.folder.write(
                "item,title\n" + (0..<100).map { "i\($0),Film & \($0)\n" }.joined(),
                to: "items.csv"
            )
            let file = try files.pipeline(
                feed: feed,
                predict: "{ for: users, k: 5, spare: 2, shard: 7, exclude: nothing }",
                model: "{ kind: popularity }",
                more: "  items: { csv: \(titles), item: item, title: title }"
            )
            for _ in 1...2 { #expect(try await larder.run("run", file, "--follow").status == 0) }
            let served = try await serve(larder, token: "open sesame")
            defer { served.process.kill() }
            let browser = try await signedIn(served)

            let first = try await browser.open("/").body
            #expect(first.contains("<a href=\"/feeds/\(feed)\">\(feed)</a>"))
            #expect(first.contains("<a href=\"/runs/2\">2</a>") && first.contains("data-live"))
            let run = try await browser.open("/runs/2").body
            // Six shards are one step; nothing of a run that has ended changes.
            #expect(run.contains("aria-label=\"predict × 6: 6 of 6\""), "\(run)")
            #expect(run.contains("aria-label=\"publish: succeeded\"") && !run.contains("data-live"))
            #expect(run.contains("<h2>Quality</h2>"))
            // prepare to train, hindsight; train, check, refit, predict, shards, publish, collect.
            #expect(run.matches(of: /class="edge"/).count == 9)
            #expect(run.contains("href=\"/jobs?run=2\" aria-label=\"predict × 6"))
            #expect(try await browser.open("/runs/77/card").status == 404)
            // What changes has a name that comes back, and a name once.
            let names = first.matches(of: /id="([a-z]+)" data-live/).map { String($0.1) }
            #expect(names == ["feeds", "runs", "queues", "workers", "failed"])
            let card = try await browser.open("/runs/2/card")
            #expect(card.status == 200 && card.body.contains("Run 2 of \(feed)"))
            #expect(
                try await browser.open("/jobs?run=2&state=succeeded").body.contains("predict 1/6")
            )
            #expect(try await browser.open("/jobs?state=asleep").status == 400)

            let here = "/feeds/\(feed)"
            let list = try await browser.open("\(here)?id=u1").body
            #expect(list.contains("u1 gets its own list, of release 2"))
            #expect(
                try await browser.open("\(here)?id=nobody&k=2").body
                    .contains("gets the default list")
            )
            #expect(try await browser.open("\(here)?id=u1&k=0").body.contains("k is 0"))
            #expect(list.contains("Film &amp; "), "\(list)")
            let best = try #require(list.firstMatch(of: /<li><code>([^<]+)<\/code>/)).1
            let hide = try await browser.press("\(here)/hide", on: here, "item=\(best)")
            #expect(hide.status == 303 && hide.headers["location"] == here)
            #expect(try await !browser.open("\(here)?id=u1").body.contains("<li><code>\(best)<"))
            #expect(
                try await browser.press("\(here)/unhide", on: here, "item=\(best)").status == 303
            )
            #expect(try await browser.open("\(here)?id=u1").body.contains("<li><code>\(best)<"))

            let back = try await browser.press("\(here)/rollback", on: here, "release=1")
            #expect(back.status == 303)
            #expect(try await browser.open("\(here)?id=u1").body.contains("of release 1"))
            let again = try await browser.send("\(here)/rollback", "release=1")
            #expect(again.status == 403)
            let same = try await browser.press("\(here)/rollback", on: here, "release=1")
            #expect(same.status == 409 && same.body.contains("is live already"), "\(same)")
            let gone = try await browser.press("\(here)/rollback", on: here, "release=9")
            #expect(gone.status == 409 && gone.body.contains("is not in Redis"), "\(gone)")
            #expect(gone.headers["retry-after"] == nil)
        }
    }

    @Test func `jobs are cancelled and retried, queues paused`() async throws {
        try await files.with { larder in
            let client = Client(ConnectionSettings(larder.database))
            let name = "<script>alert('1')</script>"
            let job = try await client.query(
                "SELECT larder.enqueue($1) AS id",
                [Parameter(name)]
            ) { row throws(PostgresError) in try row.decode("id", Int.self) }[0]
            let served = try await serve(larder, token: "open sesame")
            defer { served.process.kill() }
            let browser = try await signedIn(served)
            let page = "/jobs/\(job)"
            let shown = try await browser.open(page)
            #expect(shown.body.contains("&lt;script&gt;alert") && !shown.body.contains("<script>a"))
            let policy = shown.headers["content-security-policy"] ?? ""
            #expect(
                policy.contains("default-src 'none'") && policy.contains("frame-ancestors 'none'")
            )

            let retried = try await browser.press("\(page)/cancel", on: page)
            #expect(retried.status == 303)
            #expect(try await Runs(client).job(job).state == "cancelled")
            #expect(try await browser.press("\(page)/retry", on: page).status == 303)
            #expect(try await Runs(client).job(job).state == "ready")
            // What cannot be done is refused with its reason, and what there is not is not there.
            let form =
                try await browser.open(page).body
                .firstMatch(of: /name="form" value="([0-9a-f]+)"/)?.1 ?? ""
            let refused = try await browser.send("\(page)/retry", "form=\(form)")
            #expect(refused.status == 409 && refused.body.contains("job \(job) is ready"))
            for path in ["/jobs/0/cancel", "/runs/9/retry", "/runs/9/cancel", "\(page)/shake"] {
                #expect(try await browser.send(path, "form=\(form)").status == 404, "\(path)")
            }

            #expect(try await browser.open("/").body.contains("No worker is there"))
            #expect(try await browser.press("/queues/default/pause", on: "/").status == 303)
            #expect(try await Queue(client).states()[0].isPaused)
            #expect(try await browser.press("/queues/default/resume", on: "/").status == 303)
            #expect(try await !Queue(client).states()[0].isPaused)
            for (path, status) in [
                ("/jobs/0", 404), ("/jobs/x", 404), ("/runs/7", 404), ("/feeds/none", 404),
            ] {
                let missing = try await browser.open(path)
                #expect(missing.status == status && missing.body.contains("<h1>Not Found</h1>"))
            }
        }
    }

    @Test func `nothing is changed for whoever has not signed in, or was sent by another site`()
        async throws
    {
        try await files.with { larder in
            let queue = Queue(Client(ConnectionSettings(larder.database)))
            let served = try await serve(larder, token: "open sesame")
            defer { served.process.kill() }
            let stranger = Browser(served, files.folder)
            let turned = try await stranger.open("/jobs?state=ready")
            #expect(turned.status == 303)
            #expect(turned.headers["location"] == "/login?to=%2Fjobs%3Fstate%3Dready")
            #expect(try await served.get("/").status == 401)
            // Programs that say they take anything are told, and not sent to a page.
            for (path, more) in [
                ("/v1/feeds/f/u", "X: y"), ("/runs", "Authorization: Bearer sesame"),
            ] {
                let told = try await served.get(path, "-H", "Accept: text/html, */*", "-H", more)
                #expect(told.status == 401, "\(path)")
            }
            #expect(try await stranger.open("/login?to=%2Fjobs").body.contains("value=\"/jobs\""))
            let wrong = try await stranger.send("/login", "token=sesame", "to=/")
            #expect(wrong.status == 403 && wrong.headers["set-cookie"] == nil)
            for target in [
                "//elsewhere.example", "https://elsewhere.example", "/\\elsewhere.example",
            ] {
                let sent = try await Browser(served, files.folder)
                    .send("/login", "token=open sesame", "to=\(target)")
                #expect(sent.headers["location"] == "/")
            }

            let browser = try await signedIn(served)
            let other = try await signedIn(served)
            let page = try await other.open("/").body
            let form = try #require(page.firstMatch(of: /name="form" value="([0-9a-f]+)"/)).1
            let pause = "/queues/default/pause"
            // Without the page's secret, with that of another session, and from another site.
            #expect(try await browser.send(pause, "form=").status == 403)
            #expect(try await browser.send(pause, "form=\(form)").status == 403)
            #expect(try await stranger.send(pause, "form=\(form)").status == 303)
            let foreign = try await served.get(
                pause,
                "-b",
                other.cookies,
                "-d",
                "form=\(form)",
                "-H",
                "Sec-Fetch-Site: cross-site"
            )
            #expect(foreign.status == 403)
            let token = try await served.get(
                pause,
                "-X",
                "POST",
                "-H",
                "Authorization: Bearer open sesame"
            )
            #expect(token.status == 403)
            #expect(try await !queue.states()[0].isPaused)
            #expect(try await other.send(pause, "form=\(form)").status == 303)
            #expect(try await queue.states()[0].isPaused)

            #expect(try await other.send("/logout", "form=\(form)").status == 303)
            #expect(try await other.open("/").status == 303)
        }
    }

    @Test func `without a token it only shows`() async throws {
        try await files.with { larder in
            let served = try await serve(larder)
            defer { served.process.kill() }
            let browser = Browser(served, files.folder)
            let page = try await browser.open("/")
            #expect(page.status == 200 && page.body.contains("No feed is live"))
            #expect(
                !page.body.contains("<form method=\"post\"") && page.body.contains("LARDER_TOKEN")
            )
            #expect(try await browser.send("/queues/default/pause", "form=").status == 403)
            #expect(try await browser.open("/login").status == 404)
            // Another site's name for this machine shows nothing.
            for (host, status) in [
                ("evil.example:8080", 403), ("127.0.0.1.evil.example", 403), ("localhost:1", 200),
                ("[::1]:8080", 200), ("[::1]", 200), ("[::2]", 403),
            ] {
                #expect(
                    try await served.get("/jobs", "-H", "Host: \(host)").status == status,
                    "\(host)"
                )
            }
        }
    }

    @Test func `a database that was never migrated is told what to do`() async throws {
        try await TestServers.withEmptyDatabase { database in
            let larder = Larder(
                database: database.target,
                redis: try TestServers.redisURL,
                home: files.folder.path + "/home"
            )
            let served = try await serve(larder)
            defer { served.process.kill() }
            let page = try await served.get("/runs")
            #expect(page.status == 503 && page.body.contains("larder migrate"), "\(page)")
        }
    }

    @Test func `of a large run one sees what failed and what runs`() async throws {
        try await files.with { larder in
            let client = Client(ConnectionSettings(larder.database))
            try await client.execute(
                """
                INSERT INTO larder.feeds (name) VALUES ('large');
                """
            )
            try await client.execute(
                "INSERT INTO larder.runs (feed, pipeline) VALUES ('large', '{}')"
            )
            try await client.execute(
                """
                INSERT INTO larder.groups (run_id, total, join_job, state) VALUES (1, 1000, 900001, 'open')
                """
            )
            try await client.execute(
                """
                INSERT INTO larder.archive (id, run_id, group_id, created_at, started_at, queue_id, attempt,
                    max_attempts, state, kind, name, args, error)
                SELECT 100000 + i, 1, 1, now(), now(), 1, 1, 5,
                       CASE i WHEN 777 THEN 'failed' ELSE 'succeeded' END::larder.job_state, 'predict',
                       'predict ' || i || '/1000', '{}', CASE i WHEN 777 THEN 'no space left' END
                FROM generate_series(1, 1000) i
                """
            )
            let served = try await serve(larder)
            defer { served.process.kill() }
            let page = try await served.get("/runs/1").body
            #expect(page.contains("predict 777/1000</a> failed") && page.contains("no space left"))
            #expect(page.contains("200 of 1,000 jobs") && page.contains("999 of 1000, 1 failed"))
            #expect(page.contains("href=\"/jobs?run=1&amp;state=failed\""))
            #expect(
                try await served.get("/jobs?run=1&state=failed").body.contains("predict 777/1000")
            )
            // Its jobs are cleaned away after a month, and it did not go on for so long.
            try await client.execute("DELETE FROM larder.archive")
            let cleaned = try await served.get("/runs/1").body
            #expect(cleaned.contains("cleaned away") && !cleaned.contains("<svg"))
            #expect(try await Runs(client).run(1).seconds == nil)
        }
    }

    @Test
    func `up moves to a free port where the usual one is taken, and to none that is asked for`()
        async throws
    {
        try await files.with { larder in
            // Whoever else has it will do as well.
            let other = try await BackgroundProcess(
                .name("python3"),
                ["-m", "http.server", "8080", "--bind", "127.0.0.1"]
            )
            defer { other.kill() }
            try await waitUntil("the port is taken") {
                let asked = try await Subprocess.run(
                    .name("curl"),
                    arguments: ["-s", "-o", "/dev/null", "http://127.0.0.1:8080/"],
                    output: .discarded
                )
                return asked.terminationStatus.isSuccess
            }
            var up = larder
            up.log = files.folder.path + "/up.log"
            let process = try await up.start("up")
            defer { process.kill() }
            var port: Substring?
            try await waitUntil("it serves") {
                let text = (try? String(contentsOfFile: up.log ?? "", encoding: .utf8)) ?? ""
                port = text.firstMatch(of: /serving on http:\/\/127\.0\.0\.1:(\d+)/)?.1
                return port != nil && text.contains("port 8080 is taken")
            }
            #expect(port != "8080")
            let refused = try await larder.run("up", "--port", "8080")
            #expect(refused.status == 64 && refused.errors.contains("--port 0"), "\(refused)")
        }
    }

    @Test func `without Postgres a page says so, and lists are served`() async throws {
        let feed = try ServedFeed()
        _ = try await feed.write(1...1, to: RedisClient(TestServers.redis))
        try await feed.with(database: "host=127.0.0.1 port=1 user=x") { served, _ in
            let page = try await served.get("/", "-H", "Accept: text/html")
            #expect(page.status == 503 && page.body.contains("Postgres cannot be reached"))
            #expect(page.headers["retry-after"] == "1")
            #expect(try await served.get("/v1/feeds/\(feed.name)/u1").status == 200)
        }
    }
}
