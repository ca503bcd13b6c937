// SPDX-License-Identifier: Apache-2.0
import Glibc
import Synchronization

/// Ports below those that the system gives to connections; each is given once.
private let ports = Mutex(UInt16.random(in: 11_000...25_000))

/// A port of this machine that nobody listens on.
package func freePort() throws -> UInt16 {
    for _ in 0..<1000 {
        let port = ports.withLock { port in
            port += 1
            return port
        }
        if isFree(port) { return port }
    }
    throw NoFreePort()
}

private func isFree(_ port: UInt16) -> Bool {
    let descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
    defer { close(descriptor) }
    var address = sockaddr_in()
    address.sin_family = sa_family_t(AF_INET)
    address.sin_addr.s_addr = UInt32(0x7f00_0001).bigEndian
    address.sin_port = port.bigEndian
    return unsafe withUnsafePointer(to: &address) { pointer in
        unsafe pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
            unsafe bind(descriptor, $0, socklen_t(MemoryLayout<sockaddr_in>.size)) == 0
        }
    }
}

package struct NoFreePort: Error {}
