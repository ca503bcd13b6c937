// SPDX-License-Identifier: Apache-2.0
private import CZlib
private import Glibc

/// A file read from the front, decompressed if it is gzip; closed when it goes out of scope.
@safe struct GzipFile: ~Copyable {
    private let handle: gzFile
    let path: String

    init(_ path: String) throws(PredictorError) {
        // zlib reads a folder as an empty file, and its own message hides errno.
        let descriptor = unsafe open(path, O_RDONLY | O_CLOEXEC)
        guard descriptor >= 0 else { throw .file(path, unsafe String(cString: strerror(errno))) }
        var status = stat()
        guard unsafe fstat(descriptor, &status) == 0, status.st_mode & S_IFMT != S_IFDIR else {
            close(descriptor)
            throw .input("\(path): is a folder, not a file")
        }
        guard let handle = unsafe gzdopen(descriptor, "rb") else {
            close(descriptor)
            throw .file(path, "out of memory")
        }
        unsafe self.handle = handle
        self.path = path
        _ = unsafe gzbuffer(handle, 1 << 18)
    }

    deinit { _ = unsafe gzclose_r(handle) }

    /// Fills `buffer` from its start and returns how many bytes came; 0 at the end.
    borrowing func read(into buffer: inout [UInt8]) throws(PredictorError) -> Int {
        let count = unsafe buffer.withUnsafeMutableBytes { bytes in
            unsafe gzread(handle, bytes.baseAddress, UInt32(bytes.count))
        }
        var code: Int32 = 0
        let words = unsafe String(cString: gzerror(handle, &code))
        // A file cut short reads to its last byte, and then reports Z_BUF_ERROR.
        if code == Z_BUF_ERROR { throw .input("\(path): the gzip file is cut short") }
        if code == Z_ERRNO { throw .file(path, unsafe String(cString: strerror(errno))) }
        if count < 0 || (code != Z_OK && code != Z_STREAM_END) {
            // zlib puts a name of its own in front: "<fd:7>: incorrect data check".
            throw .input("\(path): \(words.split(separator: ">: ").last ?? "damaged gzip data")")
        }
        return Int(count)
    }
}
