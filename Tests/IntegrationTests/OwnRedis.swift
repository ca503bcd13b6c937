// SPDX-License-Identifier: Apache-2.0
import CacheWriter
import Subprocess
import Synchronization
import TestSupport

/// A redis-server for one test, which may do with it what it likes.
final class OwnRedis: Sendable {
    private let folder: TemporaryFolder
    private let arguments: [String]
    private let process = Mutex<BackgroundProcess?>(nil)
    /// Where it listens beside its socket; 0 for nowhere.
    let port: UInt16
    let address: RedisAddress

    init(port: UInt16 = 0, arguments: [String] = []) async throws {
        folder = try TemporaryFolder()
        self.port = port
        self.arguments = arguments
        address = RedisAddress(socket: folder.path + "/redis.sock")
        try await start()
    }

    var url: String { address.url }

    func start() async throws {
        let started = try await BackgroundProcess(
            .name("redis-server"),
            [
                "--port", "\(port)", "--bind", "127.0.0.1", "--unixsocket",
                folder.path + "/redis.sock",
                "--dir", folder.path, "--save", "", "--appendonly", "no",
            ] + arguments
        )
        process.withLock { $0 = started }
        // Until it answers; a server that never does fails the test here.
        for attempt in 0... {
            do {
                _ = try await RedisClient(address).command("PING")
                return
            } catch {
                if attempt == 500 { throw error }
                try await Task.sleep(for: .milliseconds(10))
            }
        }
    }

    func command(_ arguments: String...) async throws {
        try await RedisClient(address).command(arguments)
    }

    func ask(_ arguments: String...) async throws -> Reply {
        try await RedisClient(address).command(arguments)
    }

    func signal(_ number: Int32) { process.withLock { $0 }?.signal(number) }

    func kill() async throws {
        try await process.withLock { $0 }?.killed()
    }
}
