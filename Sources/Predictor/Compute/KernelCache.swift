// SPDX-License-Identifier: Apache-2.0
private import FoundationEssentials

/// Compiled kernels in a folder, by what they were compiled from.
///
/// Nothing depends on it: what cannot be kept is compiled anew at the next start.
struct KernelCache {
    private let file: URL

    /// `recipe`: all that decides what comes out.
    init(_ folder: String, _ name: String, from recipe: [String]) {
        let hash = StableHash(seed: 0, recipe.joined(separator: "\0").utf8).value
        file = URL(filePath: "\(folder)/\(name)-\(String(hash, radix: 16)).cubin")
    }

    var image: [UInt8]? { (try? Data(contentsOf: file)).map { Array($0) } }

    func keep(_ image: [UInt8]) {
        let folder = file.deletingLastPathComponent()
        try? FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
        // Written beside and renamed: nobody reads half of it.
        try? Data(image).write(to: file, options: .atomic)
    }
}
