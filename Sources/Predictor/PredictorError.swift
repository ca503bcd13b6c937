// SPDX-License-Identifier: Apache-2.0

/// What is wrong with the data or the settings a computation was given, in words for a person.
package enum PredictorError: Error, CustomStringConvertible {
    case file(String, String)
    case input(String, hint: String? = nil)

    package var description: String {
        switch self {
        case .file(let path, let reason): "\(path): \(reason)"
        case .input(let what, let hint): hint.map { "\(what)\nhint: \($0)" } ?? what
        }
    }
}
