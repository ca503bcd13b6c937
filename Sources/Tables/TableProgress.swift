// SPDX-License-Identifier: Apache-2.0
package import Synchronization

/// How far a table has been read.
package final class TableProgress: Sendable {
    /// Bytes as they stand on disk or come over the network, before they are decompressed; 0 of
    /// tables that other programs hold.
    package let bytes = Atomic(0)

    package init() {}
}
