// SPDX-License-Identifier: Apache-2.0

/// The names of a feed's keys.
///
/// Never braced, so that a cluster spreads them.
struct CacheKeys: Sendable {
    let feed: String

    var live: String { "rec:\(feed):live" }
    var previous: String { "rec:\(feed):previous" }
    /// The highest fencing token that has moved the pointer.
    var fence: String { "rec:\(feed):fence" }

    func defaultList(_ release: Int) -> String { "rec:\(feed):\(release):_default" }
    func meta(_ release: Int) -> String { "rec:\(feed):\(release):_meta" }

    /// Our own names start with an underscore; an id that does too gets another in front.
    func list(_ release: Int, _ id: some Collection<UInt8>) -> [UInt8] {
        var key = Array("rec:\(feed):\(release):".utf8)
        if id.first == UInt8(ascii: "_") { key.append(UInt8(ascii: "_")) }
        key.append(contentsOf: id)
        return key
    }
}
