// SPDX-License-Identifier: Apache-2.0
import ArgumentParser
import Foundation
import Glibc
import Logging
import NIOCore
import ServiceLifecycle

/// Options of the commands that answer over HTTP.
struct ServerOptions: ParsableArguments {
    @Option(help: "The address to listen on; 0.0.0.0 for all.") var host = "127.0.0.1"
    @Option(help: "The port; 0 for any that is free. Default: 8080.") var port: Int?

    func validate() throws {
        if let port, !(0...65_535).contains(port) {
            throw ValidationError("--port is \(port), but must be from 0 to 65535")
        }
    }

    /// Whether only programs of this machine reach it.
    static func isLocal(_ host: String) -> Bool {
        ["127.0.0.1", "::1", "localhost"].contains(host)
    }

    /// Says where it serves once it does; lets in everybody, or those who send LARDER_TOKEN.
    ///
    /// `mayMove`: to any port that is free, where the usual one is not and no other is asked for.
    func service(
        _ services: Services,
        mayMove: Bool = false,
        _ logger: Logger
    ) -> some Service {
        let token = ProcessInfo.processInfo.environment["LARDER_TOKEN"].flatMap {
            $0.isEmpty ? nil : $0
        }
        if token == nil, !Self.isLocal(host) {
            note(
                "note: everybody who reaches \(host) may ask; set LARDER_TOKEN to let in only some"
            )
        }
        return PortService(options: self, mayMove: mayMove && port == nil) { port in
            LarderServer(
                services: services,
                host: host,
                port: port,
                token: token,
                logger: logger
            ).service { note("serving on \(url(port: $0))") }
        }
    }

    fileprivate func url(port: Int) -> String {
        "http://\(host.contains(":") ? "[\(host)]" : host):\(port)"
    }
}

/// The server on its port.
private struct PortService<Base: Service>: Service {
    let options: ServerOptions
    let mayMove: Bool
    let server: @Sendable (_ port: Int) -> Base

    func run() async throws {
        let port = options.port ?? 8080
        do {
            try await server(port).run()
        } catch let error as IOError where error.errnoCode == EADDRINUSE && mayMove {
            note("port \(port) is taken")
            try await server(0).run()
        } catch {
            throw SettingsError(
                """
                cannot serve on \(options.url(port: port)): \(error)
                hint: --port 0 takes any port that is free
                """
            )
        }
    }
}
