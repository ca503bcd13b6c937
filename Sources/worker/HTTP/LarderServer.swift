// SPDX-License-Identifier: Apache-2.0
import CacheWriter
import Glibc
import Hummingbird
import HummingbirdCore
import Logging
import NIOCore
import ServiceLifecycle

/// Answers services that do not talk Redis, monitoring, and people.
struct LarderServer {
    let services: Services
    let host: String
    let port: Int
    let token: String?
    let logger: Logger

    /// A connection on which nothing happens is closed after so long.
    private static let idle = TimeAmount.seconds(60)
    /// Of a request's head; ids and segments fit many times.
    private static let head = 32 << 10
    /// Files that are open beside connections.
    private static let otherFiles = 64

    /// `isRunning`: called with the port that was bound.
    func service(isRunning: @escaping @Sendable (Int) -> Void) -> some Service {
        let meter = ServerMeter()
        // Who waits a second for a list should not wait longer.
        let redis = RedisClient(services.redisAddress, timeout: .seconds(1))
        let router = Router(
            context: BasicRequestContext.self,
            options: .autoGenerateHeadEndpoints
        )
        router.add(middleware: MeterMiddleware(meter: meter))
        let sessions = token.map { BrowserSessions(token: $0) }
        if let sessions { router.add(middleware: TokenMiddleware(sessions: sessions)) }
        let lookups = LookupQueue(FeedReader(redis))
        LookupAPI(queue: lookups, meter: meter).add(to: router)
        let isLocal = ServerOptions.isLocal(host)
        Dashboard(services, lookups, meter, sessions, isLocal: isLocal).add(to: router)
        watch(router, Metrics(services, redis, meter), redis)
        return Application(
            router: router,
            server: .http1(
                configuration: .init(
                    idleTimeout: Self.idle,
                    httpDecoderConfiguration: .init(
                        maxHeaderFieldSize: Self.head,
                        maxHeaderListSize: Self.head,
                        maxHeaderFieldCount: 100
                    )
                )
            ),
            configuration: ApplicationConfiguration(
                address: .hostname(host, port: port),
                backlog: 4096,
                availableConnectionsDelegate: MaximumAvailableConnections(
                    max(16, Self.raisedFileLimit() - Self.otherFiles),
                    logger: logger
                )
            ),
            onServerRunning: { channel in isRunning(channel.localAddress?.port ?? port) },
            logger: logger
        )
    }

    private func watch(
        _ router: Router<BasicRequestContext>,
        _ metrics: Metrics,
        _ redis: RedisClient
    ) {
        router.on("healthz", [.get: { _, _ in .text("ok\n") }])
        router.on(
            "readyz",
            [
                .get: { _, _ in
                    do {
                        try await redis.ping()
                    } catch {
                        throw RequestError(.serviceUnavailable, "\(error)")
                    }
                    return .text("ok\n")
                }
            ]
        )
        router.on(
            "metrics",
            [
                .get: { _, _ in
                    .text(await metrics.text(), type: "text/plain; version=0.0.4; charset=utf-8")
                }
            ]
        )
        router.on("openapi.json", [.get: { _, _ in .json(PackageResources.openapi_json) }])
    }

    /// Every connection is a file, and the usual limit of 1,024 is of times when nobody had more.
    private static func raisedFileLimit() -> Int {
        var limit = rlimit()
        guard unsafe getrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit) == 0 else {
            return 1024
        }
        let old = limit.rlim_cur
        limit.rlim_cur = limit.rlim_max
        if unsafe setrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit) != 0 {
            limit.rlim_cur = old
        }
        return Int(clamping: limit.rlim_cur)
    }
}

extension Router<BasicRequestContext> {
    typealias Handler = @Sendable (Request, BasicRequestContext) async throws -> Response

    /// Adds what may be done at an address; whatever else is tried there is told so.
    func on(_ path: RouterPath, _ handlers: [HTTPRequest.Method: Handler]) {
        let allowed = (handlers.keys.map(\.rawValue).sorted() + ["HEAD"]).joined(separator: ", ")
        for method in [.get, .post, .put, .delete, .patch, .options, .trace]
            as [HTTPRequest.Method]
        {
            on(
                path,
                method: method,
                use: handlers[method] ?? { _, _ in
                    var refusal = Response(
                        RequestError(.methodNotAllowed, "here one can \(allowed)")
                    )
                    refusal.headers[.allow] = allowed
                    return refusal
                }
            )
        }
    }
}
