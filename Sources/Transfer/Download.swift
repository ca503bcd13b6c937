// SPDX-License-Identifier: Apache-2.0
private import Crypto

/// The bytes of an address, read once from the front; goes on where it was when the connection
/// breaks.
///
/// Used by one thread at a time.
package final class Download: @unchecked Sendable {
    package let name: String
    private let request: HTTPRequest
    private let sha256: String?
    private let check: HTTP.Check
    private var exchange: Exchange
    private var hash = SHA256()
    /// Bytes that were read.
    package private(set) var count = 0
    /// What says that it is still the same: a strong ETag, or the time of the last change.
    private var validator: String?
    private var size: Int?
    private var attempt = 1
    private var isVerified = false

    /// Asks for the address, and waits for the answer.
    ///
    /// With `sha256` (hexadecimal) the end is an error unless the bytes hash to it.
    package init(
        _ request: HTTPRequest,
        sha256: String? = nil,
        check: @escaping HTTP.Check = {}
    ) throws {
        name = request.name
        self.request = request
        self.sha256 = sha256?.lowercased()
        self.check = check
        exchange = try HTTP.retrying(check) {
            let exchange = try Exchange(request, check: check)
            try exchange.waitForAnswer()
            guard exchange.status == 200 else { throw try exchange.response().error(request.name) }
            return exchange
        }
        validator = Self.validator(exchange.headers)
        size = exchange.headers["content-length"].flatMap { Int($0) }
    }

    /// Fills `buffer` from its start and returns how many bytes came; 0 at the end.
    package func read(into buffer: UnsafeMutableRawBufferPointer) throws -> Int {
        while true {
            do {
                let got = unsafe try exchange.read(into: buffer)
                if got > 0 {
                    count += got
                    attempt = 1
                    if sha256 != nil {
                        unsafe hash.update(
                            bufferPointer: UnsafeRawBufferPointer(rebasing: buffer[..<got])
                        )
                    }
                    return got
                }
                if let size, count < size {
                    throw TransferError.unreachable(
                        name,
                        "broke off after \(count) of \(size) bytes"
                    )
                }
                try verify()
                return 0
            } catch let error as TransferError {
                guard case .unreachable(_, let reason) = error else { throw error }
                guard attempt < HTTP.attempts else {
                    let size = size.map { " of \($0)" } ?? ""
                    throw TransferError.unreachable(
                        name,
                        "breaks off after \(count)\(size) bytes, \(attempt) times: \(reason)"
                    )
                }
                try HTTP.pause(after: attempt, check)
                attempt += 1
                try goOn(after: reason)
            }
        }
    }

    private func verify() throws(TransferError) {
        guard let sha256, !isVerified else { return }
        let found = hash.finalize().hex
        guard found == sha256 else {
            throw .refused(
                name,
                "its \(count) bytes have the SHA-256 \(found), and should have \(sha256)",
                hint: "it has changed or was damaged on its way; if it is right, change `sha256:`"
            )
        }
        isVerified = true
    }

    // MARK: going on

    private func goOn(after reason: String) throws {
        guard let validator else {
            throw TransferError.unreachable(
                name,
                "\(reason), and the server gives neither an ETag nor a time of change, so it cannot go on"
            )
        }
        var next = request
        next.headers["If-Range"] = validator
        let resumed: Exchange
        do {
            resumed = try Exchange(next, from: count, check: check)
            try resumed.waitForAnswer()
        } catch let error as TransferError {
            guard case .unreachable = error else { throw error }
            // The next read fails again, and counts.
            return
        }
        if HTTP.isBusy(resumed.status) { return }
        guard resumed.status == 206 || resumed.status == 200 else {
            throw try resumed.response().error(name)
        }
        guard Self.validator(resumed.headers) == validator else {
            throw TransferError.unreachable(name, "has changed while it was read")
        }
        if resumed.status == 206 {
            guard resumed.headers["content-range"]?.hasPrefix("bytes \(count)-") == true else {
                throw TransferError.refused(
                    name,
                    "the server sends another part than was asked for"
                )
            }
        } else {
            // All of it again, from a server that knows no parts.
            do {
                try skip(count, of: resumed)
            } catch let error as TransferError {
                guard case .unreachable = error else { throw error }
                return
            }
        }
        exchange = resumed
    }

    private func skip(_ count: Int, of exchange: Exchange) throws {
        var rest = count
        let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: 1 << 16, alignment: 8)
        defer { unsafe buffer.deallocate() }
        while rest > 0 {
            let part = unsafe UnsafeMutableRawBufferPointer(rebasing: buffer[..<min(rest, 1 << 16)])
            let got = unsafe try exchange.read(into: part)
            guard got > 0 else { throw TransferError.unreachable(name, "broke off again") }
            rest -= got
        }
    }

    private static func validator(_ headers: [String: String]) -> String? {
        // A weak one says that it means the same, not that it has the same bytes.
        if let tag = headers["etag"], !tag.hasPrefix("W/") { return tag }
        return headers["last-modified"]
    }

    /// What changes when the bytes do, as the server says; nil if it does not.
    package static func version(
        of request: HTTPRequest,
        check: @escaping HTTP.Check = {}
    ) throws -> String? {
        var head = request
        head.method = "HEAD"
        let answer = try HTTP.perform(head, check: check)
        // Not all servers answer it; then nobody knows.
        guard answer.status == 200 else { return nil }
        return answer.headers["etag"].flatMap { $0.hasPrefix("W/") ? nil : $0 }
    }
}
