// SPDX-License-Identifier: Apache-2.0
import Foundation
import Glibc

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

        fileprivate init(_ process: Process) { self.process = process }

        deinit { kill() }

        func kill() {
            guard process.isRunning else { return }
            _ = Glibc.kill(process.processIdentifier, SIGKILL)
            process.waitUntilExit()
        }

        /// SIGTERM, and the exit status.
        func terminate() -> Int32 {
            process.terminate()
            process.waitUntilExit()
            return process.terminationStatus
        }
    }

    /// Runs a command to its end, at most two minutes.
    @concurrent func run(_ arguments: String...) async throws -> Result {
        let process = process(["timeout", "-k", "1", "120", Self.binary] + arguments)
        let output = Pipe()
        let errors = Pipe()
        process.standardOutput = output
        process.standardError = errors
        try process.run()
        // Both at once: a full pipe on one side would stop the command for ever.
        async let outputText = Self.read(output)
        async let errorText = Self.read(errors)
        let texts = await (outputText, errorText)
        process.waitUntilExit()
        return Result(status: process.terminationStatus, output: texts.0, errors: texts.1)
    }

    func start(_ arguments: String...) throws -> Background {
        let process = process([Self.binary] + arguments)
        process.standardOutput = FileHandle.nullDevice
        process.standardError = FileHandle.nullDevice
        try process.run()
        return Background(process)
    }

    func waitForRun(_ id: Int) async throws {
        while try await run("runs", "show", "\(id)").output.contains("run \(id) running") {
            try await Task.sleep(for: .milliseconds(50))
        }
    }

    private static let binary = URL(filePath: #filePath).deletingLastPathComponent()
        .deletingLastPathComponent().deletingLastPathComponent().path + "/.build/debug/larder"

    @concurrent private static func read(_ pipe: Pipe) async -> String {
        String(decoding: pipe.fileHandleForReading.readDataToEndOfFile(), as: UTF8.self)
    }

    private func process(_ command: [String]) -> Process {
        let process = Process()
        process.executableURL = URL(filePath: "/usr/bin/env")
        process.arguments = command
        var environment = ProcessInfo.processInfo.environment
        environment["LARDER_DATABASE_URL"] = database
        environment["LARDER_REDIS_URL"] = redis
        environment["LARDER_HOME"] = home
        process.environment = environment
        return process
    }
}
