// SPDX-License-Identifier: Apache-2.0
import Foundation
import HTTPTypes
import Hummingbird

/// Signing in and out.
extension Dashboard {
    /// Whether somebody looks at it: programs, whatever they say they take, send a token or ask for data.
    static func isBrowser(_ request: Request) -> Bool {
        request.headers[.accept]?.contains("text/html") == true
            && request.headers[.authorization]?.hasPrefix("Bearer ") != true
            && !request.uri.path.hasPrefix("/v1/")
            && request.uri.path != "/metrics"
    }

    /// Where one signs in and comes back from to what was asked for.
    static func signInPath(backTo request: Request) -> String {
        let isForm = request.method != .get
        let target = isForm ? "/" : request.uri.description
        let escaped = target.addingPercentEncoding(withAllowedCharacters: .unreserved) ?? ""
        return target == "/" ? "/login" : "/login?to=\(escaped)"
    }

    @Sendable func showSignIn(
        _ request: Request,
        _ context: BasicRequestContext
    ) async throws -> Response {
        let target = try request.parameters().last { $0.name == "to" }?.value
        return signInPage(request, to: target ?? "/")
    }

    private func signInPage(_ request: Request, to target: String, problem: String? = nil)
        -> Response
    {
        let visitor = visitor(request)
        guard sessions != nil else {
            let page = DashboardPage(
                title: "Not found",
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

    @Sendable func signIn(
        _ request: Request,
        _ context: BasicRequestContext
    ) async throws -> Response {
        let form = try await fields(request)
        let target = form["to"] ?? "/"
        guard let sessions, sessions.isToken(form["token"] ?? "") else {
            // Whoever tries them all has to wait.
            try await Task.sleep(for: .seconds(1))
            return signInPage(request, to: target, problem: "That is not the token.")
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

    @Sendable func signOut(
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

extension Request {
    /// As the proxy before us says.
    fileprivate var cameOverTLS: Bool { headers[named: "X-Forwarded-Proto"] == "https" }
}
