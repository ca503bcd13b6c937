// SPDX-License-Identifier: Apache-2.0
private import Glibc

/// A file being written; closed when it goes out of scope.
final class OutputFile {
    private let descriptor: Int32
    private let path: String
    private(set) var byteCount = 0

    init(_ path: String) throws(PredictorError) {
        descriptor = unsafe open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0o644)
        self.path = path
        guard descriptor >= 0 else { throw .file(path, unsafe String(cString: strerror(errno))) }
    }

    deinit { close(descriptor) }

    func write<T: BitwiseCopyable>(_ values: [T]) throws(PredictorError) {
        let failure = unsafe values.withUnsafeBytes { bytes -> Int32 in
            var done = 0
            while done < bytes.count {
                let wrote = unsafe Glibc.write(
                    descriptor,
                    bytes.baseAddress.map { unsafe $0 + done },
                    bytes.count - done
                )
                if wrote < 0 && errno == EINTR { continue }
                if wrote <= 0 { return errno }
                done += wrote
            }
            return 0
        }
        byteCount += values.count * MemoryLayout<T>.stride
        if failure != 0 { throw .file(path, unsafe String(cString: strerror(failure))) }
    }

    /// Full disks show up here at the latest.
    func sync() throws(PredictorError) {
        guard fsync(descriptor) == 0 else {
            throw .file(path, unsafe String(cString: strerror(errno)))
        }
    }
}
