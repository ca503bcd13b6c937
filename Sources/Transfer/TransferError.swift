// SPDX-License-Identifier: Apache-2.0

/// What went wrong between here and a server, in words for a person; addresses in it have no
/// passwords and no signatures.
package enum TransferError: Error, CustomStringConvertible, Equatable {
    /// It may work later: the server cannot be reached, breaks off, or is too busy.
    case unreachable(String, String)
    /// It will not work however often it is tried.
    case refused(String, String, hint: String? = nil)

    package var description: String {
        switch self {
        case .unreachable(let what, let reason): "\(what): \(reason)"
        case .refused(let what, let reason, let hint):
            "\(what): \(reason)" + (hint.map { "\nhint: \($0)" } ?? "")
        }
    }
}
