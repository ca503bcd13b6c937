// SPDX-License-Identifier: Apache-2.0

/// The names of a feed's keys.
///
/// Those of lists are never braced, so that a cluster spreads them. The braces of the others hold
/// the pointer's own name: a cluster keeps them where the pointer is, and one script may touch all.
struct CacheKeys: Sendable {
    let feed: String

    /// The release that readers use.
    var live: String { "rec:\(feed):live" }
    /// A hash: what moving the pointer depends on.
    var head: String { "{\(live)}:head" }
    /// A set of items that readers leave out.
    var hidden: String { "{\(live)}:hidden" }

    /// What lists that are written in place are, while there are any.
    var inPlace: String { "{\(live)}:in-place" }

    /// The field of `head` that says that a release is whole: `ready`, or `published` once it was
    /// live.
    func state(_ release: Int) -> String { "release:\(release)" }

    /// What describes a release.
    func meta(_ release: Int) -> String { lists(String(release)) + "_meta" }

    /// What the keys of lists begin with; `release`: its number, or what they have in place of it.
    func lists(_ release: String) -> String { "rec:\(feed):\(release):" }
}
