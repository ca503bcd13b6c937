// SPDX-License-Identifier: Apache-2.0
import CacheWriter
import Foundation
import Subprocess
import SystemPackage
import TestSupport

/// Stands between clients and a Redis, and spoils what goes through it: Tests/redis_proxy.py says how.
final class RedisProxy: Sendable {
    private let folder: TemporaryFolder
    private let process: BackgroundProcess
    let address: RedisAddress

    init(to server: OwnRedis, _ fault: String...) async throws {
        folder = try TemporaryFolder()
        let socket = folder.path + "/redis.sock"
        address = RedisAddress(socket: socket)
        process = try await BackgroundProcess(
            .path(".tools/bin/python"),
            ["Tests/redis_proxy.py", socket, server.address.socket ?? ""] + fault,
            log: .open(
                FilePath(folder.path + "/log"),
                .writeOnly,
                options: [.create],
                permissions: .ownerReadWrite
            )
        )
        try await waitUntil("the proxy listens") { FileManager.default.fileExists(atPath: socket) }
    }

    /// What it has printed so far, a line each.
    var told: [Substring] {
        get throws {
            try String(contentsOfFile: folder.path + "/log", encoding: .utf8).split(separator: "\n")
        }
    }
}
