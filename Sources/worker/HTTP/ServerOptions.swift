// SPDX-License-Identifier: Apache-2.0
import ArgumentParser
import Foundation
import Logging
import ServiceLifecycle

/// Options of the commands that answer over HTTP.
struct ServerOptions: ParsableArguments {
    @Option(help: "The address to listen on; 0.0.0.0 for all.") var host = "127.0.0.1"
    @Option(help: "The port; 0 for any that is free.") var port = 8080

    func validate() throws {
        if !(0...65_535).contains(port) {
            throw ValidationError("--port is \(port), but must be from 0 to 65535")
        }
    }

    /// Says where it serves once it does; lets in everybody, or those who send LARDER_TOKEN.
    func service(_ services: Services, _ logger: Logger) -> some Service {
        let token = ProcessInfo.processInfo.environment["LARDER_TOKEN"].flatMap {
            $0.isEmpty ? nil : $0
        }
        if token == nil, !["127.0.0.1", "::1", "localhost"].contains(host) {
            note(
                "note: everybody who reaches \(host) may ask; set LARDER_TOKEN to let in only some"
            )
        }
        let server = LarderServer(
            services: services,
            host: host,
            port: port,
            token: token,
            logger: logger
        )
        return NamedFailure(server.service { note("serving on \(url(port: $0))") }) { error in
            SettingsError(
                """
                cannot serve on \(url(port: port)): \(error)
                hint: --port 0 takes any port that is free
                """
            )
        }
    }

    private func url(port: Int) -> String {
        "http://\(host.contains(":") ? "[\(host)]" : host):\(port)"
    }
}

/// A service whose failure is told in our words.
private struct NamedFailure<Base: Service>: Service {
    let base: Base
    let rename: @Sendable (any Error) -> any Error

    init(_ base: Base, _ rename: @escaping @Sendable (any Error) -> any Error) {
        (self.base, self.rename) = (base, rename)
    }

    func run() async throws {
        do {
            try await base.run()
        } catch { throw rename(error) }
    }
}
