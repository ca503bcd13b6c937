// SPDX-License-Identifier: Apache-2.0
import CacheWriter
import Foundation
import Hummingbird
import Jobs
import Logging
import Postgres

/// Pages for people: what is live, what runs, what failed, and buttons to do something about it.
///
/// Who may change things has signed in with the server's token; a server without one only shows.
struct Dashboard {
    /// For pages: nobody waits long for one.
    let services: Services
    /// For what a button does, which may take as long as a command.
    let actions: Services
    let lookups: LookupQueue
    let meter: ServerMeter
    let sessions: BrowserSessions?
    let titles: Titles
    /// Only who is on this machine is served, under one of its own names.
    private let isLocal: Bool

    /// What a browser loads to sign in; they tell nobody anything.
    static let open: Set<String> = ["/login", "/dashboard.css", "/dashboard.js"]

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
        router.on("login", [.get: showSignIn, .post: signIn])
        router.on("logout", [.post: signOut])
        let style = PageStyle.css.description + DashboardStyle.css.description
        router.on("dashboard.css", [.get: { _, _ in .text(style, type: "text/css") }])
        let script = String(decoding: PackageResources.dashboard_js, as: UTF8.self)
        router.on("dashboard.js", [.get: { _, _ in .text(script, type: "text/javascript") }])
    }

    // MARK: who is there

    func visitor(_ request: Request) -> DashboardPage.Visitor {
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
        let name =
            authority.hasPrefix("[")
            ? authority.prefix { $0 != "]" } + "]" : authority.prefix { $0 != ":" }
        guard !["localhost", "127.0.0.1", "[::1]"].contains(name) else { return }
        throw RequestError(
            .forbidden,
            "without a token the pages are shown to this machine only, as localhost",
            hint: "start the server with LARDER_TOKEN set, or ask for http://localhost"
        )
    }
}

extension Response {
    init(_ page: DashboardPage, _ visitor: DashboardPage.Visitor) {
        self = .html(page.text(for: visitor), status: page.status)
        if page.status == .serviceUnavailable { headers[.retryAfter] = "1" }
    }

    static func html(_ text: String, status: HTTPResponse.Status = .ok) -> Response {
        Response(
            status: status,
            headers: DashboardPage.headers,
            body: ResponseBody(byteBuffer: ByteBuffer(string: text))
        )
    }

    static func seeOther(_ path: String) -> Response {
        Response(status: .seeOther, headers: [.location: path, .cacheControl: "no-store"])
    }
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
    init(
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
