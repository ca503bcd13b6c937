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
    let services: Services
    let lookups: LookupQueue
    let meter: ServerMeter
    let sessions: BrowserSessions?
    let titles: Titles

    /// What a browser loads to show the door; they tell nobody anything.
    static let open: Set<String> = ["/login", "/dashboard.css", "/dashboard.js"]
    /// Bytes of a form.
    private static let form = 16 << 10

    init(
        _ services: Services,
        _ lookups: LookupQueue,
        _ meter: ServerMeter,
        _ sessions: BrowserSessions?
    ) {
        // A page that waits longer is no page.
        var database = services.database
        database.connectTimeout = .seconds(2)
        database.statementTimeout = .seconds(10)
        self.services = Services(
            database: database,
            redis: services.redisAddress,
            artifacts: services.artifacts
        )
        (self.lookups, self.meter, self.sessions) = (lookups, meter, sessions)
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
        router.on("runs/:id/card", [.get: card])
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
        router.on(
            "jobs/:id/retry",
            [
                .post: action { context, _ in
                    let id = try context.number()
                    if try await services.queue.retry([id]).isEmpty {
                        throw RequestError(
                            .conflict,
                            "job \(id) has not failed, nor was it cancelled"
                        )
                    }
                    return "/jobs/\(id)"
                }
            ]
        )
        router.on(
            "jobs/:id/cancel",
            [
                .post: action { context, _ in
                    let id = try context.number()
                    if try await services.queue.cancel([id]).isEmpty {
                        throw RequestError(.conflict, "job \(id) has ended already")
                    }
                    return "/jobs/\(id)"
                }
            ]
        )
        router.on(
            "runs/:id/retry",
            [
                .post: action { context, _ in
                    let id = try context.number()
                    if try await services.runs.retry(id) == 0 {
                        throw RequestError(
                            .conflict,
                            "nothing of run \(id) has failed or was cancelled"
                        )
                    }
                    return "/runs/\(id)"
                }
            ]
        )
        router.on(
            "runs/:id/cancel",
            [
                .post: action { context, _ in
                    let id = try context.number()
                    if try await services.runs.cancel(id) == 0 {
                        throw RequestError(.conflict, "run \(id) has ended already")
                    }
                    return "/runs/\(id)"
                }
            ]
        )
        router.on(
            "queues/:queue/:action",
            [
                .post: action { context, _ in
                    let queue = try context.text("queue")
                    switch try context.text("action") {
                    case "pause": try await services.queue.pause(queue)
                    case "resume": try await services.queue.resume(queue)
                    default: throw RequestError(.notFound, "a queue can be paused and resumed")
                    }
                    return "/"
                }
            ]
        )
        router.on(
            "feeds/:feed/:action",
            [
                .post: action { context, form in
                    let feed = try context.text("feed")
                    switch try context.text("action") {
                    case "rollback":
                        guard let release = Int(form["release"] ?? "") else {
                            throw RequestError(.badRequest, "the form says no release")
                        }
                        _ = try await services.rollBack(feed, to: release)
                    case "hide": try await services.hide([item(form)], of: feed)
                    case "unhide": try await services.unhide([item(form)], of: feed)
                    default:
                        throw RequestError(
                            .notFound,
                            "a feed can be rolled back, and its items hidden and brought back"
                        )
                    }
                    return HTML.path(["feeds", feed])
                }
            ]
        )
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
        { request, context in
            let visitor = visitor(request)
            do {
                return Response(try await make(request, context, visitor), visitor)
            } catch {
                return Response(DashboardPage(error, context), visitor)
            }
        }
    }

    /// Does what a form of our own pages asks for, and sends the browser to where it shows.
    private func action(
        _ act:
            @escaping @Sendable (BasicRequestContext, [String: String]) async throws -> String
    ) -> Router<BasicRequestContext>.Handler {
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
                return Response(DashboardPage(error, context), visitor(request))
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
        // Only to a page of ours: `//host` would be another's.
        let isOurs = target.hasPrefix("/") && !target.hasPrefix("//") && !target.contains("\\")
        var response = Response.seeOther(isOurs ? target : "/")
        response.headers[.setCookie] = sessions.opening(isSecure: request.cameOverTLS)
        return response
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
    /// What went wrong, in the same words as on the command line.
    fileprivate init(_ error: any Error, _ context: BasicRequestContext) {
        var words = "\(error)"
        switch error {
        case let error as RequestError:
            status = error.status
            words = error.message + (error.hint.map { "\nhint: \($0)" } ?? "")
        case JobsError.notFound: status = .notFound
        case JobsError.postgres(let error, _):
            status = error.endsConnection ? .serviceUnavailable : .conflict
        case is CacheError: status = .serviceUnavailable
        case is SettingsError: status = .conflict
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
