// SPDX-License-Identifier: Apache-2.0

/// What is wrong with the data or the settings a computation was given, in words for a person.
package enum PredictorError: Error, CustomStringConvertible {
    /// A file that cannot be opened, read or written now; it may be different the next time.
    case file(String, String)
    /// Data or settings that will not do, however often they are tried.
    case input(String, hint: String? = nil)

    package var description: String {
        switch self {
        case .file(let path, let reason): "\(path): \(reason)"
        case .input(let what, let hint): hint.map { "\(what)\nhint: \($0)" } ?? what
        }
    }
}
