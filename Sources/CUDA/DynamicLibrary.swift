// SPDX-License-Identifier: Apache-2.0
private import Glibc

/// A shared library that may be there or not.
@safe struct DynamicLibrary: Sendable {
    private nonisolated(unsafe) let handle: UnsafeMutableRawPointer

    /// The first that can be opened: each name in each of the folders, then where the system looks.
    init?(_ names: [String], in folders: [String]) {
        let paths = folders.flatMap { folder in names.map { "\(folder)/\($0)" } } + names
        for path in paths {
            if let handle = unsafe dlopen(path, RTLD_NOW | RTLD_LOCAL) {
                unsafe self.handle = unsafe handle
                return
            }
        }
        return nil
    }

    /// Nil where the library has no such function, being of another version.
    ///
    /// `type` must be the C function's own.
    func function<T>(_ name: String, _ type: T.Type) -> T? {
        guard let symbol = unsafe dlsym(handle, name) else { return nil }
        return unsafe unsafeBitCast(symbol, to: type)
    }
}
