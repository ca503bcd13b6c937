// SPDX-License-Identifier: Apache-2.0
private import Glibc

/// A shared library that may be there or not.
@safe struct DynamicLibrary: Sendable {
    private nonisolated(unsafe) let handle: UnsafeMutableRawPointer
    private let path: String

    /// The first that can be opened: each name in each of the folders, then where the system looks.
    ///
    /// Throws what was said of the last.
    init(_ names: [String], in folders: [String]) throws(Missing) {
        let paths = folders.flatMap { folder in names.map { "\(folder)/\($0)" } } + names
        var words = ""
        for path in paths {
            if let handle = unsafe dlopen(path, RTLD_NOW | RTLD_LOCAL) {
                unsafe self.handle = unsafe handle
                self.path = path
                return
            }
            words = unsafe dlerror().map { unsafe String(cString: $0) } ?? path
        }
        throw Missing(words: words)
    }

    struct Missing: Error { let words: String }

    /// A function, whose type must be the C function's own; throws where the library is too old to have it.
    func function<T>(_ name: String) throws(CUDAError) -> T {
        guard let symbol = unsafe dlsym(handle, name) else {
            throw .unavailable(
                "\(path) has no \(name)",
                hint: "it is older than CUDA 12; install a newer one"
            )
        }
        return unsafe unsafeBitCast(symbol, to: T.self)
    }
}
