// SPDX-License-Identifier: Apache-2.0
import Hummingbird
import Logging

/// Measures every request, and puts what went wrong into JSON.
struct MeterMiddleware: RouterMiddleware {
    typealias Context = BasicRequestContext

    let meter: ServerMeter

    func handle(
        _ request: Request,
        context: BasicRequestContext,
        next: @concurrent (Request, BasicRequestContext) async throws -> Response
    ) async throws -> Response {
        let start = ContinuousClock.now
        meter.begin()
        let response = await respond(request, context, next)
        meter.end(
            // Not the address itself: there are as many as ids.
            context.endpointPath ?? "none",
            status: response.status.code,
            start.duration(to: .now)
        )
        return response
    }

    private func respond(
        _ request: Request,
        _ context: BasicRequestContext,
        _ next: @concurrent (Request, BasicRequestContext) async throws -> Response
    ) async -> Response {
        do {
            return try await next(request, context)
        } catch let error as RequestError {
            return Response(error)
        } catch let error as HTTPError {
            let words = error.body ?? error.status.reasonPhrase.lowercased()
            return Response(RequestError(error.status, words))
        } catch {
            context.logger.error("a request failed", metadata: ["error": "\(error)"])
            return Response(RequestError(.internalServerError, "larder failed; its log says why"))
        }
    }
}

/// Lets in those who send the token, and browsers that have signed in with it.
struct TokenMiddleware: RouterMiddleware {
    typealias Context = BasicRequestContext

    let sessions: BrowserSessions
    /// What those who watch the server may ask without it, and what a browser needs to sign in.
    private static let open = Dashboard.open.union(["/healthz", "/readyz", "/openapi.json"])

    func handle(
        _ request: Request,
        context: BasicRequestContext,
        next: @concurrent (Request, BasicRequestContext) async throws -> Response
    ) async throws -> Response {
        guard !Self.open.contains(request.uri.path) else {
            return try await next(request, context)
        }
        let sent = request.headers[.authorization] ?? ""
        let isLetIn =
            sent.hasPrefix("Bearer ")
            ? sessions.isToken(String(sent.dropFirst(7)))
            : sessions.session(of: request.headers) != nil
        guard isLetIn else {
            if Dashboard.isBrowser(request) {
                return .seeOther(Dashboard.signInPath(backTo: request))
            }
            throw RequestError(
                .unauthorized,
                "the token is missing or wrong",
                hint: "send `Authorization: Bearer …` with what LARDER_TOKEN is on the server"
            )
        }
        return try await next(request, context)
    }
}
