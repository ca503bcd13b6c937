// SPDX-License-Identifier: Apache-2.0
import Foundation
import Subprocess
import SystemPackage
import TestSupport
import Testing

/// A `larder serve` of a test, and requests to it.
struct Served {
    let process: BackgroundProcess
    let port: Int

    /// `log`: where it says its port.
    init(_ larder: Larder, log: String, token: String? = nil) async throws {
        var larder = larder
        larder.token = token
        larder.log = log
        process = try await larder.start("serve", "--port", "0")
        var found: Int?
        try await waitUntil("the server says its port") {
            let text = try String(contentsOfFile: log, encoding: .utf8)
            found = text.firstMatch(of: /serving on http:\/\/127\.0\.0\.1:(\d+)/).flatMap {
                Int($0.1)
            }
            return found != nil
        }
        port = try #require(found)
    }

    struct Response {
        let status: Int
        /// With names in small letters.
        let headers: [String: String]
        let body: String

        var json: [String: Any] {
            let object = try? JSONSerialization.jsonObject(with: Data(body.utf8))
            return object as? [String: Any] ?? [:]
        }
    }

    func get(_ path: String, _ curl: String...) async throws -> Response {
        let result = try await Subprocess.run(
            .name("curl"),
            arguments: Arguments(
                ["-si", "--max-time", "60", "--path-as-is"] + curl + [
                    "http://127.0.0.1:\(port)\(path)"
                ]
            ),
            output: .string(limit: 1 << 22),
            error: .string(limit: 1 << 16)
        )
        try #require(result.terminationStatus.isSuccess, "curl \(path): \(result.standardError)")
        let halves = result.standardOutput.split(separator: "\r\n\r\n", maxSplits: 1)
        let lines = (halves.first ?? "").split(separator: "\r\n")
        let status = lines.first?.split(separator: " ").dropFirst().first.flatMap { Int($0) }
        return Response(
            status: try #require(status),
            headers: Dictionary(
                lines.dropFirst().compactMap { line in
                    line.firstIndex(of: ":").map { colon in
                        (
                            line[..<colon].lowercased(),
                            line[line.index(after: colon)...].trimmingCharacters(in: .whitespaces)
                        )
                    }
                },
                uniquingKeysWith: { $1 }
            ),
            body: halves.count > 1 ? String(halves[1]) : ""
        )
    }

    /// What Tests/serve_hammer.py tells.
    static func hammer(_ arguments: String...) async throws -> [String: Any] {
        let result = try await Subprocess.run(
            .path(".tools/bin/python"),
            arguments: Arguments(["Tests/serve_hammer.py"] + arguments),
            output: .string(limit: 1 << 22),
            error: .string(limit: 1 << 16)
        )
        try #require(result.terminationStatus.isSuccess, "\(result.standardError)")
        let object = try JSONSerialization.jsonObject(with: Data(result.standardOutput.utf8))
        return try #require(object as? [String: Any])
    }
}
