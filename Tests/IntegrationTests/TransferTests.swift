// SPDX-License-Identifier: Apache-2.0
import Crypto
import Foundation
import TestSupport
import Testing

@testable import Transfer

/// Downloads from a server that behaves as badly as it is asked to.
@Suite(.timeLimit(Effort.limit)) struct TransferTests {
    private let bytes: [UInt8]
    private let name = UUID().uuidString
    private let base: String

    init() throws {
        var generator = SystemRandomNumberGenerator()
        bytes = (0..<700_000).map { _ in UInt8.random(in: 0...255, using: &generator) }
        let environment = ProcessInfo.processInfo.environment
        base = try #require(environment["TEST_WEB"], "run through Tests/with-servers.sh")
        let folder = try #require(environment["TEST_WEB_FOLDER"])
        try Data(bytes).write(to: URL(filePath: "\(folder)/\(name)"))
    }

    private func read(_ query: String, sha256: String? = nil) throws -> [UInt8] {
        let url = "\(base)/\(name)?\(query)"
        let download = try Download(HTTPRequest("GET", url, name: url), sha256: sha256)
        var result: [UInt8] = []
        var buffer = [UInt8](repeating: 0, count: 60_000)
        while true {
            let count = unsafe try buffer.withUnsafeMutableBytes {
                unsafe try download.read(into: $0)
            }
            if count == 0 { return result }
            result += buffer[..<count]
        }
    }

    private func requests(_ query: String) throws -> Int {
        let path = S3.encode("/\(name)?\(query)")
        let answer = try HTTP.perform(HTTPRequest("GET", "\(base)/requests?\(path)", name: ""))
        return Int(String(decoding: answer.body, as: UTF8.self)) ?? -1
    }

    private func failure(_ query: String, sha256: String? = nil) -> TransferError? {
        #expect(throws: TransferError.self) { try read(query, sha256: sha256) }
    }

    @Test(arguments: [("", 1), ("cut=200000", 4), ("cut=699999", 2), ("busy=2", 3)])
    func `every byte comes once, over as many connections as it takes`(
        _ query: String,
        _ wanted: Int
    ) throws {
        #expect(try read(query) == bytes)
        #expect(try requests(query) == wanted)
    }

    @Test func `a server that knows no ranges is read again from the front`() throws {
        let hash = SHA256.hash(data: bytes).hex
        #expect(try read("norange&once&cut=200000", sha256: hash.uppercased()) == bytes)
        let error = failure("norange&cut=200000")
        #expect(
            error?.description.contains("breaks off after 200000 of 700000 bytes, 5 times") == true
        )
    }

    @Test func `another file is not put behind the first half of this one`() {
        #expect(failure("change&cut=300000")?.description.contains("has changed while") == true)
        #expect(failure("notag&cut=300000")?.description.contains("it cannot go on") == true)
    }

    @Test func `bytes that do not hash to what they should are an error at the end`() {
        let error = failure("", sha256: String(repeating: "0", count: 64))
        #expect(error?.description.contains("and should have 0000") == true)
        #expect(error?.description.contains("700000 bytes have the SHA-256") == true)
    }

    @Test func `what is not there is refused at once, a server that is not there is not`() throws {
        let missing = #expect(throws: TransferError.self) {
            try Download(HTTPRequest("GET", "\(base)/none", name: "there"))
        }
        #expect(missing == .refused("there", "the server answers 404 (not found)"))
        let closed = #expect(throws: TransferError.self) {
            try Download(HTTPRequest("GET", "http://127.0.0.1:1/x", name: "there"))
        }
        guard case .unreachable = closed else {
            Issue.record("\(String(describing: closed))")
            return
        }
    }

    @Test func `a silent server is given up when the caller says so`() {
        struct Enough: Error {}
        let start = ContinuousClock.now
        #expect(throws: Enough.self) {
            try Download(HTTPRequest("GET", "\(base)/\(name)?silent", name: "s")) {
                if ContinuousClock.now - start > .seconds(1) { throw Enough() }
            }
        }
        #expect(ContinuousClock.now - start < .seconds(10))
    }
}
