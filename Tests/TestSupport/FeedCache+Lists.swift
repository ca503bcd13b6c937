// SPDX-License-Identifier: Apache-2.0
package import CacheWriter

extension FeedCache {
    /// One list and the id it is for.
    package struct List: Sendable {
        package let id: ArraySlice<UInt8>
        package let bytes: [UInt8]

        package init(id: ArraySlice<UInt8>, bytes: [UInt8]) {
            self.id = id
            self.bytes = bytes
        }
    }

    /// Writes lists whose bytes are known; returns the bytes sent.
    package func write(
        _ lists: [List],
        release: Int,
        layout: ListLayout = .keys,
        expire: Duration
    ) async throws -> Int {
        var batch = batch(release: release, layout, expire: expire)
        for list in lists { batch.append(list.id, list.bytes) }
        return try await write(batch)
    }

    /// Writes one batch; returns the bytes sent.
    @discardableResult
    package func write(_ batch: ListBatch) async throws -> Int {
        var rest: ListBatch? = batch
        return try await write {
            defer { rest = nil }
            return rest
        }
    }
}
