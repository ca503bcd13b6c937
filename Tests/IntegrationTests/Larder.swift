// SPDX-License-Identifier: Apache-2.0
import Foundation
import Postgres
import Subprocess
import SystemPackage
import TestSupport
import Testing

/// Runs the binary of the debug build against given servers.
struct Larder: Sendable {
    let database: String
    let redis: String
    let home: String
    /// `LARDER_CPU`: the kernels of which processor it uses; nil for this one's.
    var processor: String?
    /// What `larder serve` lets in.
    var token: String?
    /// `LARDER_CUDA`: the folder of a GPU's driver.
    var cuda: String?
    /// What of `EmulatedGPU` fails.
    var cudaFailure: String?
    var cudaIsWrong = false
    /// Where what runs in the background says what it has to say.
    var log: String?
    /// What its workers sign web-hooks with.
    static let secret = "whsec_" + Data("a secret of 24 bytes, so".utf8).base64EncodedString()

    struct Result: Sendable {
        let status: Int32
        let output: String
        let errors: String
    }

    private var environment: Environment {
        .inherit.updating([
            "LARDER_DATABASE_URL": database, "LARDER_REDIS_URL": redis, "LARDER_HOME": home,
            "LARDER_CPU": processor, "LARDER_TOKEN": token, "TEST_SECRET": Self.secret,
            "LARDER_CUDA": cuda, "CUDA_EMULATED_FAILURE": cudaFailure, "CUDA_EMULATED_MEMORY": nil,
            "CUDA_EMULATED_WRONG": cudaIsWrong ? "1" : nil,
        ])
    }

    /// Runs a command to its end, at most two minutes.
    ///
    /// Nothing here blocks a thread: the tests share two of them.
    func run(_ arguments: String...) async throws -> Result { try await run(arguments) }

    func run(_ arguments: [String]) async throws -> Result {
        let result = try await Subprocess.run(
            .name("timeout"),
            arguments: Arguments(["-k", "1", "120", Self.binary] + arguments),
            environment: environment,
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
            errors: result.standardError + (status == 124 ? logs : "")
        )
    }

    func start(_ arguments: String...) async throws -> BackgroundProcess {
        try await BackgroundProcess(
            .path(FilePath(Self.binary)),
            arguments,
            environment: environment,
            log: .open(
                FilePath(log ?? "\(home).log"),
                .writeOnly,
                options: [.create, .append],
                permissions: .ownerReadWrite
            )
        )
    }

    /// What the workers of a test said, for the message of one that did not end.
    private var logs: String {
        let folder = URL(filePath: home).deletingLastPathComponent()
        let files = (try? FileManager.default.contentsOfDirectory(atPath: folder.path)) ?? []
        return files.filter { $0.hasSuffix(".log") }.map { name in
            let text = try? String(contentsOf: folder.appending(path: name), encoding: .utf8)
            return "\n== \(name)\n\((text ?? "").suffix(4000))"
        }.joined()
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

extension Larder {
    /// Against a database of the test's own and the Redis of all tests.
    init(_ database: ConnectionSettings, home: String) throws {
        self.init(database: database.target, redis: try TestServers.redisURL, home: home)
    }
}

extension Effort {
    /// What ends a test that hangs, far beyond what any needs.
    static let limit = TimeLimitTrait.Duration.minutes(isLong ? 20 : 10)
}

/// Looks again and again, less and less often: looking takes from a busy machine what is waited for.
func waitUntil(
    _ what: String,
    within limit: Duration = .seconds(180),
    _ isTrue: () async throws -> Bool
) async throws {
    struct NeverHappened: Error, CustomStringConvertible { let description: String }
    let end = ContinuousClock.now + limit
    var pause = Duration.milliseconds(5)
    while try await !isTrue() {
        if ContinuousClock.now > end {
            throw NeverHappened(description: "not in \(limit): " + what)
        }
        try await Task.sleep(for: pause)
        pause = min(pause * 1.3, .milliseconds(100))
    }
}
