// SPDX-License-Identifier: Apache-2.0
private import Glibc

/// Bytes that are read once, from the front.
protocol ByteStream: AnyObject, Sendable {
    /// What messages call it: a path, an address, a query.
    var name: String { get }

    /// Bytes that were taken so far from what it reads, before they are decompressed.
    var consumed: Int { get }

    /// Fills `buffer` from its start and returns how many bytes came; 0 at the end.
    func read(into buffer: UnsafeMutableRawBufferPointer) throws -> Int
}

enum FileStream {
    /// Opens a file, decompressed if it begins as gzip or Zstandard does.
    static func open(_ path: String) throws -> any ByteStream {
        let descriptor = unsafe Glibc.open(path, O_RDONLY | O_CLOEXEC)
        guard descriptor >= 0 else { throw TableError.unreadable(path, lastError()) }
        var status = stat()
        guard unsafe fstat(descriptor, &status) == 0, status.st_mode & S_IFMT != S_IFDIR else {
            close(descriptor)
            throw TableError.input("\(path): is a folder, not a file")
        }
        return try Compression.open(PlainStream(path, descriptor))
    }
}

func lastError() -> String { unsafe String(cString: strerror(errno)) }

/// A file as it is.
final class PlainStream: ByteStream, @unchecked Sendable {
    let name: String
    private let descriptor: Int32
    private(set) var consumed = 0

    /// Takes the descriptor over.
    init(_ name: String, _ descriptor: Int32) {
        self.name = name
        self.descriptor = descriptor
        _ = posix_fadvise(descriptor, 0, 0, POSIX_FADV_SEQUENTIAL)
    }

    deinit { close(descriptor) }

    func read(into buffer: UnsafeMutableRawBufferPointer) throws(TableError) -> Int {
        while true {
            let count = unsafe Glibc.read(descriptor, buffer.baseAddress, buffer.count)
            if count < 0 && errno == EINTR { continue }
            if count < 0 { throw .unreadable(name, lastError()) }
            consumed += count
            return count
        }
    }
}
