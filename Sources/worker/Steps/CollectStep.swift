// SPDX-License-Identifier: Apache-2.0
import Artifacts
import CacheWriter
import Jobs
import Predictor
import Tables

/// Removes releases that are no longer kept.
///
/// Their keys are made again from the ledger and the dataset's ids, and unlinked a few at a time;
/// what cannot be named any more expires by itself.
struct CollectStep {
    private let input: StepInput

    init(_ input: StepInput) { self.input = input }

    private struct Result: Codable {
        var releases: [Int] = []
    }

    func run() async throws -> JobResult {
        let feed = input.pipeline.feed
        let releases = try await input.services.releases.list(feed: feed, limit: 10_000)
        var result = Result()
        guard let live = releases.first(where: { $0.state == "live" }) else {
            return try JobResult(result)
        }
        // The most recently live ones are kept, which after a rollback are not the newest; and
        // whatever Redis itself points at.
        let cache = input.services.cache(feed)
        let retired = releases.filter { $0.state == "retired" }
            .sorted { ($0.liveAt ?? "", $0.number) > ($1.liveAt ?? "", $1.number) }
        let arms = try await cache.split()?.arms.compactMap(\.release) ?? []
        let pointers =
            [try await cache.live(), try await cache.previous()].compactMap(\.self) + arms
        let kept = Set(retired.prefix(input.pipeline.publish.keep - 1).map(\.number) + pointers)
        // Those still in writing and older than the live one belong to runs that failed.
        let garbage = releases.filter {
            $0.state != "live" && $0.state != "collected" && !kept.contains($0.number)
                && ($0.state == "retired" || $0.number < live.number)
        }
        for (place, release) in garbage.enumerated() {
            try input.progress(
                Double(place) / Double(garbage.count),
                "removing release \(release.number)"
            )
            guard try await remove(release) else { continue }
            try await input.services.releases.recordCollected(feed: feed, number: release.number)
            result.releases.append(release.number)
        }
        return try JobResult(result)
    }

    /// False when the release went live meanwhile.
    private func remove(_ release: Releases.Release) async throws -> Bool {
        let cache = input.services.cache(release.feed)
        guard try await cache.retire(release: release.number) else { return false }
        // Without its dataset a release cannot be named; its keys carry an expiry for this case.
        let ids = try ids(of: release)
        switch try await cache.storage(of: release.number)?.layout {
        case .buckets(let count): try await remove(buckets: count, of: release, from: cache)
        case .keys: try await remove(ids, of: release, from: cache)
        // The lists are those of later releases now.
        case .inPlace: break
        case nil:
            // Of a run that failed, before it said how its lists are stored.
            try await remove(ids, of: release, from: cache)
            if case .buckets(let most) = ListLayout.compact(ids?.count ?? 0) {
                try await remove(buckets: most, of: release, from: cache)
            }
        }
        try await cache.removeHead(release: release.number)
        return true
    }

    private static let batch = 10_000

    private func ids(of release: Releases.Release) throws -> Vocabulary? {
        do {
            return try input.services.ids(of: release)
        } catch is ArtifactError { return nil }
    }

    private func remove(
        _ ids: Vocabulary?,
        of release: Releases.Release,
        from cache: FeedCache
    ) async throws {
        guard let ids else { return }
        try await inBatches(ids.count) { range in
            let part = range.map { ids.ids.bytes[ids.ids.range($0)] }
            try await cache.remove(part, release: release.number)
        }
    }

    private func remove(
        buckets: Int,
        of release: Releases.Release,
        from cache: FeedCache
    ) async throws {
        try await inBatches(buckets) { range in
            try await cache.remove(buckets: range, release: release.number)
        }
    }

    private func inBatches(
        _ count: Int,
        _ remove: (Range<Int>) async throws -> Void
    ) async throws {
        for first in stride(from: 0, to: count, by: Self.batch) {
            try await remove(first..<min(first + Self.batch, count))
            try input.context.checkStop()
            // Readers come first: a pause after each 10,000 keys leaves them the server.
            if count > Self.batch { try await Task.sleep(for: .milliseconds(50)) }
        }
    }
}
