// SPDX-License-Identifier: Apache-2.0

/// What is wrong with a table that was to be read, in words for a person.
package enum TableError: Error, CustomStringConvertible, Equatable {
    /// What cannot be opened or read now; it may be different the next time.
    case unreadable(String, String)
    /// A table that will not do, however often it is read.
    case input(String, hint: String? = nil)

    package var description: String {
        switch self {
        case .unreadable(let what, let reason): "\(what): \(reason)"
        case .input(let what, let hint): hint.map { "\(what)\nhint: \($0)" } ?? what
        }
    }
}
