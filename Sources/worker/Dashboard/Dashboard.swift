// SPDX-License-Identifier: Apache-2.0
import CacheWriter
import Foundation
import Hummingbird
import Logging
import Jobs
import Postgres

/// Pages for people: what is live, what runs, what failed, and buttons to do something about it.
///
/// Who may change things has signed in with the server's token; a server without one only shows.
struct Dashboard {
    /// For pages: nobody waits long for one.
    let services: Services
    /// For what a button does, which may take as long as a command.
    private let actions: Services
    let lookups: LookupQueue
    let meter: ServerMeter
    let sessions: BrowserSessions?
    let titles: Titles
    /// Only who is on this machine is served, under one of its own names.
    private let isLocal: Bool

    /// What a browser loads to show the door; they tell nobody anything.
    static let open: Set<String> = ["/login", "/dashboard.css", "/dashboard.js"]
    /// Bytes of a form.
    private static let form = 16 << 10

    init(
        _ services: Services,
        _ lookups: LookupQueue,
        _ meter: ServerMeter,
        _ sessions: BrowserSessions?,
        isLocal: Bool
    ) {
        var database = services.database
        database.connectTimeout = .seconds(2)
        database.statementTimeout = .seconds(10)
        self.services = Services(
            database: database,
            redis: services.redisAddress,
            artifacts: services.artifacts
        )
        actions = services
        (self.lookups, self.meter, self.sessions) = (lookups, meter, sessions)
        self.isLocal = isLocal
        titles = Titles(services.artifacts)
    }

    func add(to router: Router<BasicRequestContext>) {
        router.on("", [.get: page { _, _, visitor in try await overview(visitor) }])
        router.on(
            "feeds/:feed",
            [
                .get: page { request, context, visitor in
                    try await feed(context.text("feed"), request.parameters(), visitor)
                }
            ]
        )
        router.on("runs", [.get: page { _, _, _ in try await runs() }])
        router.on(
            "runs/:id",
            [.get: page { _, context, visitor in try await run(context.number(), visitor) }]
        )
        router.on("runs/:id/card", [.get: shown(card)])
        router.on(
            "jobs",
            [.get: page { request, _, _ in try await jobs(request.parameters()) }]
        )
        router.on(
            "jobs/:id",
            [.get: page { _, context, visitor in try await job(context.number(), visitor) }]
        )
        addActions(to: router)
        router.on("login", [.get: showDoor, .post: signIn])
        router.on("logout", [.post: signOut])
        let style = PageStyle.css.description + DashboardStyle.css.description
        router.on("dashboard.css", [.get: { _, _ in .text(style, type: "text/css") }])
        let script = String(decoding: PackageResources.dashboard_js, as: UTF8.self)
        router.on("dashboard.js", [.get: { _, _ in .text(script, type: "text/javascript") }])
    }

    private func addActions(to router: Router<BasicRequestContext>) {
        for (path, act) in [
            ("jobs/:id/retry", retryJob), ("jobs/:id/cancel", cancelJob),
            ("runs/:id/retry", retryRun), ("runs/:id/cancel", cancelRun),
            ("queues/:queue/:action", changeQueue), ("feeds/:feed/:action", changeFeed),
        ] as [(RouterPath, Action)] {
            router.on(path, [.post: action(act)])
        }
    }

    /// Does something, and returns the page where it shows.
    private typealias Action =
        @Sendable (BasicRequestContext, [String: String]) async throws ->
        String

    @Sendable private func retryJob(
        _ context: BasicRequestContext,
        _ form: [String: String]
    ) async throws -> String {
        let id = try context.number()
        if try await actions.queue.retry([id]).isEmpty {
            let job = try await actions.runs.job(id)
            throw RequestError(
                .conflict,
                "job \(id) is \(job.state): only failed and cancelled jobs can be retried"
            )
        }
        return "/jobs/\(id)"
    }

    @Sendable private func cancelJob(
        _ context: BasicRequestContext,
        _ form: [String: String]
    ) async throws -> String {
        let id = try context.number()
        if try await actions.queue.cancel([id]).isEmpty {
            let job = try await actions.runs.job(id)
            throw RequestError(.conflict, "job \(id) has ended already: it has \(job.state)")
        }
        return "/jobs/\(id)"
    }

    @Sendable private func retryRun(
        _ context: BasicRequestContext,
        _ form: [String: String]
    ) async throws -> String {
        let id = try context.number()
        if try await actions.runs.retry(id) == 0 {
            _ = try await actions.runs.run(id)
            throw RequestError(.conflict, "nothing of run \(id) has failed or was cancelled")
        }
        return "/runs/\(id)"
    }

    @Sendable private func cancelRun(
        _ context: BasicRequestContext,
        _ form: [String: String]
    ) async throws -> String {
        let id = try context.number()
        // Jobs that are being stopped already are not cancelled again.
        if try await actions.runs.cancel(id) == 0,
            try await actions.runs.run(id).state != "running"
        {
            throw RequestError(.conflict, "run \(id) has ended already")
        }
        return "/runs/\(id)"
    }

    @Sendable private func changeQueue(
        _ context: BasicRequestContext,
        _ form: [String: String]
    ) async throws -> String {
        let queue = try context.text("queue")
        switch try context.text("action") {
        case "pause": try await actions.queue.pause(queue)
        case "resume": try await actions.queue.resume(queue)
        default: throw RequestError(.notFound, "a queue can be paused and resumed")
        }
        return "/"
    }

    @Sendable private func changeFeed(
        _ context: BasicRequestContext,
        _ form: [String: String]
    ) async throws -> String {
        let feed = try context.text("feed")
        switch try context.text("action") {
        case "rollback":
            guard let release = Int(form["release"] ?? "") else {
                throw RequestError(.badRequest, "the form says no release")
            }
            _ = try await actions.rollBack(feed, to: release)
        case "hide": try await actions.hide([item(form)], of: feed)
        case "unhide": try await actions.unhide([item(form)], of: feed)
        default:
            throw RequestError(
                .notFound,
                "a feed can be rolled back, and its items hidden and brought back"
            )
        }
        return HTML.path(["feeds", feed])
    }

    private func item(_ form: [String: String]) throws(RequestError) -> String {
        let item = form["item"] ?? ""
        try LookupOptions.check(item, "item")
        return item
    }

    // MARK: who is there

    private func visitor(_ request: Request) -> DashboardPage.Visitor {
        DashboardPage.Visitor(
            isGuarded: sessions != nil,
            formToken: sessions.flatMap { sessions in
                sessions.session(of: request.headers).map(sessions.formToken)
            }
        )
    }

    private func page(
        _ make:
            @escaping @Sendable (Request, BasicRequestContext, DashboardPage.Visitor) async throws
            -> DashboardPage
    ) -> Router<BasicRequestContext>.Handler {
        shown { request, context in
            let visitor = visitor(request)
            return Response(try await make(request, context, visitor), visitor)
        }
    }

    /// Answers with a page whatever happens.
    func shown(
        _ make: @escaping Router<BasicRequestContext>.Handler
    ) -> Router<BasicRequestContext>.Handler {
        { request, context in
            do {
                try checkHost(request)
                return try await make(request, context)
            } catch {
                let page = DashboardPage(error, refused: .internalServerError, context)
                return Response(page, visitor(request))
            }
        }
    }

    /// Any web site may name this machine as its own, and read here what nobody needs a token for.
    private func checkHost(_ request: Request) throws(RequestError) {
        guard isLocal, sessions == nil, let authority = request.head.authority else { return }
        let host = authority.hasSuffix("]") ? authority[...] : authority.prefix { $0 != ":" }
        let name = authority.hasPrefix("[") ? authority.prefix { $0 != "]" } + "]" : host
        guard !["localhost", "127.0.0.1", "[::1]"].contains(name) else { return }
        throw RequestError(
            .forbidden,
            "without a token the pages are shown to this machine only, as localhost",
            hint: "start the server with LARDER_TOKEN set, or ask for http://localhost"
        )
    }

    /// Does what a form of our own pages asks for, and sends the browser to where it shows.
    private func action(_ act: @escaping Action) -> Router<BasicRequestContext>.Handler {
        { request, context in
            do {
                guard let sessions else {
                    throw RequestError(
                        .forbidden,
                        "nothing can be changed here",
                        hint: "start the server with LARDER_TOKEN set, and sign in with it"
                    )
                }
                let form = try await fields(request)
                guard let session = sessions.session(of: request.headers),
                    sessions.isFormToken(form["form"] ?? "", of: session),
                    ["same-origin", nil].contains(request.headers[named: "Sec-Fetch-Site"])
                else {
                    throw RequestError(
                        .forbidden,
                        "this form was not made for you, or it is too old",
                        hint: "sign in, and try again from the page it stands on"
                    )
                }
                return .seeOther(try await act(context, form))
            } catch {
                return Response(
                    DashboardPage(error, refused: .conflict, context),
                    visitor(request)
                )
            }
        }
    }

    private func fields(_ request: Request) async throws(RequestError) -> [String: String] {
        let body: ByteBuffer
        do {
            body = try await request.body.collect(upTo: Self.form)
        } catch {
            throw RequestError(.contentTooLarge, "the form has more than \(Self.form) bytes")
        }
        let pairs = try Request.parameters(String(buffer: body))
        return Dictionary(pairs.map { ($0.name, $0.value) }) { _, last in last }
    }

    // MARK: the door

    /// Whether somebody looks at it: programs, whatever they say they take, send a token or ask for data.
    static func isBrowser(_ request: Request) -> Bool {
        request.headers[.accept]?.contains("text/html") == true
            && request.headers[.authorization] == nil && !request.uri.path.hasPrefix("/v1/")
            && request.uri.path != "/metrics"
    }

    /// Where one signs in and comes back from to what was asked for.
    static func door(to request: Request) -> String {
        let isForm = request.method != .get
        let target = isForm ? "/" : request.uri.description
        let escaped = target.addingPercentEncoding(withAllowedCharacters: .unreserved) ?? ""
        return target == "/" ? "/login" : "/login?to=\(escaped)"
    }

    @Sendable private func showDoor(
        _ request: Request,
        _ context: BasicRequestContext
    ) async throws -> Response {
        let target = try request.parameters().last { $0.name == "to" }?.value
        return door(request, to: target ?? "/")
    }

    private func door(_ request: Request, to target: String, problem: String? = nil) -> Response {
        let visitor = visitor(request)
        guard sessions != nil else {
            let page = DashboardPage(
                title: "No door",
                body:
                    "<h1>There is nothing to sign in to</h1>\n<p>The server has no LARDER_TOKEN.</p>\n",
                status: .notFound
            )
            return Response(page, visitor)
        }
        let trouble: HTML = problem.map { "<p class=\"bad\" role=\"alert\">\($0)</p>\n" } ?? ""
        let page = DashboardPage(
            title: "Sign in",
            body: """
                <h1>Sign in</h1>
                \(trouble)<form method="post" action="/login">
                <input name="username" value="larder" autocomplete="username" hidden>
                <label>Token <input type="password" name="token" required autofocus autocomplete="current-password"></label>
                <input type="hidden" name="to" value="\(target)"><button>Sign in</button></form>
                <p class="soft">It is what LARDER_TOKEN is on the server.</p>

                """,
            status: problem == nil ? .ok : .forbidden
        )
        return Response(page, visitor)
    }

    @Sendable private func signIn(
        _ request: Request,
        _ context: BasicRequestContext
    ) async throws -> Response {
        let form = try await fields(request)
        let target = form["to"] ?? "/"
        guard let sessions, sessions.isToken(form["token"] ?? "") else {
            // Whoever tries them all has to wait.
            try await Task.sleep(for: .seconds(1))
            return door(request, to: target, problem: "That is not the token.")
        }
        var response = Response.seeOther(Self.isOurs(target) ? target : "/")
        response.headers[.setCookie] = sessions.opening(isSecure: request.cameOverTLS)
        return response
    }

    /// Whether a browser stays here with it: to one `//host` is another's page, `/\\host` too, and what
    /// is no visible ASCII it may take for nothing.
    static func isOurs(_ target: String) -> Bool {
        let bytes = Array(target.utf8)
        let (slash, backslash) = (UInt8(ascii: "/"), UInt8(ascii: "\\"))
        return bytes.first == slash && bytes.dropFirst().first != slash
            && bytes.allSatisfy { (0x21...0x7E).contains($0) && $0 != backslash }
    }

    @Sendable private func signOut(
        _ request: Request,
        _ context: BasicRequestContext
    ) async throws -> Response {
        var response = try await action { _, _ in "/" }(request, context)
        if response.status == .seeOther {
            response.headers[.setCookie] = sessions?.closing(isSecure: request.cameOverTLS)
        }
        return response
    }
}

extension Response {
    fileprivate init(_ page: DashboardPage, _ visitor: DashboardPage.Visitor) {
        self.init(
            status: page.status,
            headers: DashboardPage.headers,
            body: ResponseBody(byteBuffer: ByteBuffer(string: page.text(for: visitor)))
        )
        if page.status == .serviceUnavailable { headers[.retryAfter] = "1" }
    }

    static func seeOther(_ path: String) -> Response {
        Response(status: .seeOther, headers: [.location: path, .cacheControl: "no-store"])
    }
}

extension Request {
    /// As the proxy before us says.
    fileprivate var cameOverTLS: Bool { headers[named: "X-Forwarded-Proto"] == "https" }
}

extension BasicRequestContext {
    /// The number of what the path is about.
    func number() throws(RequestError) -> Int {
        let text = try text("id")
        guard let number = Int(text) else {
            throw RequestError(.notFound, "\"\(text)\" is not a number")
        }
        return number
    }
}

extension DashboardPage {
    /// What went wrong, in the same words as on the command line; `refused`: what a statement's refusal
    /// by Postgres is here.
    fileprivate init(
        _ error: any Error,
        refused: HTTPResponse.Status,
        _ context: BasicRequestContext
    ) {
        var words = "\(error)"
        switch error {
        case let error as RequestError:
            status = error.status
            words = error.message + (error.hint.map { "\nhint: \($0)" } ?? "")
        case JobsError.notFound: status = .notFound
        case JobsError.postgres(let error, _) where error.isTransient: status = .serviceUnavailable
        case JobsError.postgres(let error, _) where error.isOfMissingSchema:
            status = .serviceUnavailable
            words += "\nhint: run `larder migrate` against this database first"
        case JobsError.postgres: status = refused
        case CacheError.fenced, is SettingsError: status = .conflict
        case is CacheError: status = .serviceUnavailable
        default:
            context.logger.error("a page failed", metadata: ["error": "\(error)"])
            status = .internalServerError
            words = "larder failed; its log says why"
        }
        title = status.reasonPhrase
        let lines = words.split(separator: "\n").map { line -> HTML in "<p>\(String(line))</p>\n" }
        body = "<h1>\(status.reasonPhrase)</h1>\n\(lines)<p><a href=\"/\">To the overview</a></p>\n"
    }
}
