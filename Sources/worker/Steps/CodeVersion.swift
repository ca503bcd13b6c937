// SPDX-License-Identifier: Apache-2.0
import Artifacts
import Foundation

/// Which code is running: a hash of the program's own file.
///
/// Whatever another build would do otherwise, its work does not stand for this one's.
enum CodeVersion {
    static let hash: String = {
        var hash = ContentHash()
        // A program that cannot be read takes no other's work for its own.
        // On Linux the file that was started, whatever has been put in its place since.
        let own = "/proc/self/exe"
        let path = FileManager.default.fileExists(atPath: own) ? own : Bundle.main.executablePath
        guard let path, (try? hash.add(file: path)) != nil else {
            return UUID().uuidString
        }
        return hash.hex
    }()
}
