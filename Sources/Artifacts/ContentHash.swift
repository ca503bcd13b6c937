// SPDX-License-Identifier: Apache-2.0
private import Crypto
private import Glibc
private import Transfer

/// A SHA-256 of several things, one after the other.
package struct ContentHash {
    private var hash = SHA256()

    package init() {}

    package mutating func add(_ text: String) { hash.update(data: Array(text.utf8)) }

    /// Adds a file's bytes, and returns how many they are; `check` is called for each mebibyte, and
    /// may throw to stop.
    @discardableResult
    package mutating func add(file path: String, check: () throws -> Void = {}) throws -> Int {
        guard let file = unsafe fopen(path, "rb") else {
            throw ArtifactError.system("read \(path)")
        }
        defer { _ = unsafe fclose(file) }
        var total = 0
        var buffer = [UInt8](repeating: 0, count: 1 << 20)
        while true {
            let count = unsafe fread(&buffer, 1, buffer.count, file)
            if count == 0 {
                if unsafe ferror(file) != 0 { throw ArtifactError.system("read \(path)") }
                return total
            }
            hash.update(data: buffer[..<count])
            total += count
            try check()
        }
    }

    /// 64 hexadecimal digits.
    package var hex: String { hash.finalize().hex }
}

extension ArtifactError {
    /// What the system refused to do just now.
    static func system(_ action: String) -> ArtifactError {
        ArtifactError(description: "cannot \(action): \(unsafe String(cString: strerror(errno)))")
    }
}
