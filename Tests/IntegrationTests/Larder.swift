// SPDX-License-Identifier: Apache-2.0
import Foundation
import Glibc
import Subprocess

/// Runs the binary of the debug build against given servers.
struct Larder: Sendable {
    let database: String
    let redis: String
    let home: String

    struct Result: Sendable {
        let status: Int32
        let output: String
        let errors: String
    }

    /// A command that goes on in the background.
    final class Background {
        private let process: Process
        private let ended: AsyncStream<Int32>

        fileprivate init(_ process: Process) throws {
            self.process = process
            let (ended, signal) = AsyncStream<Int32>.makeStream()
            self.ended = ended
            process.terminationHandler = { signal.yield($0.terminationStatus) }
            try process.run()
        }

        deinit { kill() }

        func kill() {
            guard process.isRunning else { return }
            _ = Glibc.kill(process.processIdentifier, SIGKILL)
        }

        /// SIGTERM, and the exit status.
        func terminate() async -> Int32? {
            process.terminate()
            return await ended.first { _ in true }
        }
    }

    /// Runs a command to its end, at most two minutes.
    ///
    /// Nothing here blocks a thread: the tests share two of them.
    func run(_ arguments: String...) async throws -> Result {
        let result = try await Subprocess.run(
            .name("timeout"),
            arguments: Arguments(["-k", "1", "120", Self.binary] + arguments),
            environment: .inherit.updating([
                "LARDER_DATABASE_URL": database, "LARDER_REDIS_URL": redis, "LARDER_HOME": home,
            ]),
            output: .string(limit: 1 << 20),
            error: .string(limit: 1 << 20)
        )
        let status: Int32 =
            switch result.terminationStatus {
            case .exited(let code): code
            case .signaled(let signal): 128 + signal
            }
        return Result(
            status: status,
            output: result.standardOutput,
            errors: result.standardError
        )
    }

    func start(_ arguments: String...) throws -> Background {
        let process = Process()
        process.executableURL = URL(filePath: Self.binary)
        process.arguments = arguments
        process.standardOutput = FileHandle.nullDevice
        process.standardError = FileHandle.nullDevice
        var environment = ProcessInfo.processInfo.environment
        environment["LARDER_DATABASE_URL"] = database
        environment["LARDER_REDIS_URL"] = redis
        environment["LARDER_HOME"] = home
        process.environment = environment
        return try Background(process)
    }

    func waitForRun(_ id: Int) async throws {
        try await waitUntil("run \(id) has ended") {
            try await !run("runs", "show", "\(id)").output.contains("run \(id) running")
        }
    }

    private static let binary =
        URL(filePath: #filePath).deletingLastPathComponent()
        .deletingLastPathComponent().deletingLastPathComponent().path + "/.build/debug/larder"
}

/// Looks every few milliseconds, and gives up after a minute.
func waitUntil(_ what: String, _ isTrue: () async throws -> Bool) async throws {
    struct NeverHappened: Error, CustomStringConvertible { let description: String }
    let end = ContinuousClock.now + .seconds(60)
    while try await !isTrue() {
        if ContinuousClock.now > end {
            throw NeverHappened(description: "not in a minute: " + what)
        }
        try await Task.sleep(for: .milliseconds(5))
    }
}
