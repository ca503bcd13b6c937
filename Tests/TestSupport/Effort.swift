// SPDX-License-Identifier: Apache-2.0
import Foundation

/// How long tests of races and faults go on: a representative minute in `make test`, much longer in
/// `make chaos`, which sets LARDER_CHAOS.
package enum Effort {
    package static let isLong = ProcessInfo.processInfo.environment["LARDER_CHAOS"] != nil

    package static func scaled(_ short: Int, long: Int) -> Int { isLong ? long : short }
}
