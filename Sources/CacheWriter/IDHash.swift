// SPDX-License-Identifier: Apache-2.0
private import Crypto

/// What divides ids among shares and buckets: readers in any language have SHA-1, and Redis' Lua has it.
enum IDHash {
    /// The first 32 bits of the SHA-1.
    static func of(_ text: some Collection<UInt8>) -> Int {
        Insecure.SHA1.hash(data: Array(text)).prefix(4).reduce(0) { $0 << 8 | Int($1) }
    }
}
