// SPDX-License-Identifier: Apache-2.0
import Dispatch
import Foundation
import Glibc
import Synchronization
import TestSupport

/// Stands between a client and a server, and spoils what goes through it.
final class PostgresProxy: Sendable {
    enum Fault: Sendable {
        /// Connections stay open and carry nothing, like TCP to a machine that has gone.
        case blackHole
        /// Only those that listen.
        case blackHoleListeners
        /// The reply to the next claim that got jobs is lost, after the server has committed.
        case loseClaimReply
    }

    private struct State {
        var fault: Fault?
        var lostReplies = 0
        var isClosed = false
    }
    private let state = Mutex(State())
    private let folder: TemporaryFolder
    private let target: String
    private let listener: Int32
    private let queue = DispatchQueue(label: "proxy", attributes: .concurrent)

    init(to target: String) throws {
        folder = try TemporaryFolder()
        self.target = target
        let listener = socket(AF_UNIX, Int32(SOCK_STREAM.rawValue), 0)
        self.listener = listener
        let bound = unsafe Self.withAddress(folder.path + "/.s.PGSQL.5432") { address, length in
            unsafe bind(listener, address, length)
        }
        precondition(bound == 0 && listen(listener, 64) == 0, "cannot listen")
        queue.async { [self] in accept() }
    }

    var host: String { folder.path }

    var fault: Fault? {
        get { state.withLock { $0.fault } }
        set { state.withLock { $0.fault = newValue } }
    }

    var lostReplies: Int { state.withLock { $0.lostReplies } }

    func close() {
        state.withLock { $0.isClosed = true }
        shutdown(listener, Int32(SHUT_RDWR))
        Glibc.close(listener)
    }

    private func accept() {
        while !state.withLock({ $0.isClosed }) {
            let client = Glibc.accept(listener, nil, nil)
            guard client >= 0 else { return }
            queue.async { [self] in carry(client) }
        }
    }

    private func carry(_ client: Int32) {
        let server = socket(AF_UNIX, Int32(SOCK_STREAM.rawValue), 0)
        defer {
            Glibc.close(client)
            Glibc.close(server)
        }
        let connected = unsafe Self.withAddress(target) { address, length in
            unsafe connect(server, address, length)
        }
        guard connected == 0 else { return }
        var listens = false
        var awaitsClaim = false
        var swallowed: [UInt8] = []
        while !state.withLock({ $0.isClosed }) {
            let fault = fault
            if fault == .blackHole || fault == .blackHoleListeners && listens {
                usleep(20_000)
                continue
            }
            var sockets = [
                pollfd(fd: client, events: Int16(POLLIN), revents: 0),
                pollfd(fd: server, events: Int16(POLLIN), revents: 0),
            ]
            guard unsafe poll(&sockets, 2, 50) >= 0 else { return }
            if sockets[0].revents != 0 {
                guard let bytes = Self.read(client) else { return }
                listens = listens || Self.contains(bytes, "LISTEN larder")
                awaitsClaim = Self.contains(bytes, "larder.claim(")
                guard Self.write(server, bytes) else { return }
            }
            if sockets[1].revents != 0 {
                guard let bytes = Self.read(server) else { return }
                if fault == .loseClaimReply, awaitsClaim {
                    swallowed += bytes
                    // ReadyForQuery: the transaction is over.
                    guard swallowed.suffix(6) == [0x5A, 0, 0, 0, 5, 0x49] else { continue }
                    if Self.contains(swallowed, "precious") {
                        state.withLock {
                            $0.lostReplies += 1
                            $0.fault = nil
                        }
                        return
                    }
                    guard Self.write(client, swallowed) else { return }
                    swallowed = []
                } else {
                    guard Self.write(client, bytes) else { return }
                }
            }
        }
    }

    private static func read(_ socket: Int32) -> [UInt8]? {
        var buffer = [UInt8](repeating: 0, count: 65_536)
        let count = unsafe Glibc.read(socket, &buffer, buffer.count)
        return count > 0 ? Array(buffer[..<count]) : nil
    }

    private static func write(_ socket: Int32, _ bytes: [UInt8]) -> Bool {
        var sent = 0
        while sent < bytes.count {
            let count = unsafe bytes[sent...].withUnsafeBytes { rest in
                unsafe send(socket, rest.baseAddress, rest.count, Int32(MSG_NOSIGNAL))
            }
            if count <= 0 { return false }
            sent += count
        }
        return true
    }

    private static func contains(_ bytes: [UInt8], _ text: String) -> Bool {
        String(decoding: bytes, as: UTF8.self).contains(text)
    }

    private static func withAddress(
        _ path: String,
        _ body: (UnsafePointer<sockaddr>, socklen_t) -> Int32
    ) -> Int32 {
        var address = sockaddr_un()
        address.sun_family = sa_family_t(AF_UNIX)
        unsafe withUnsafeMutableBytes(of: &address.sun_path) {
            unsafe $0.copyBytes(from: path.utf8)
        }
        return unsafe withUnsafePointer(to: &address) { pointer in
            unsafe pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                unsafe body($0, socklen_t(MemoryLayout<sockaddr_un>.size))
            }
        }
    }
}
