// SPDX-License-Identifier: Apache-2.0
import ArgumentParser
import CacheWriter
import Executors
import Foundation
import Glibc

struct RedisBenchCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "redis",
        abstract: "Lists a second into Redis, encoded, verified and live.",
        discussion: """
            Wants a database of Redis that is empty, and empties it afterwards.
            """
    )

    @Option(help: "Lists to write.")
    var users = 1_000_000

    @Option(help: "Items that there are; their ids are numbers.")
    var items = 100_000

    @Option(help: "Entries of a list.")
    var k = 10

    @Option(help: "json, json-scored, packed or packed-scored.")
    var format = ListFormat.json

    @Flag(help: "Some lists in a hash together.")
    var compact = false

    @Flag(help: "In place; and the same lists a second time, of which none has changed.")
    var inPlace = false

    @Option(help: "Lists a second at most.")
    var rate: Int?

    @Option(help: "The Redis to fill, as redis://host:6379/0 or unix:///path.")
    var redisURL: String

    @Flag(help: "Machine-readable.")
    var json = false

    func validate() throws {
        if let rate, rate < 1 { throw ValidationError("--rate is above 0") }
        if compact && inPlace { throw ValidationError("--compact or --in-place, one of them") }
        guard users > 0, k > 0, items >= k else {
            throw ValidationError("--users and --k are above 0, and there are at least k --items")
        }
    }

    static let release = 1
    static let expire = Duration.seconds(7 * 86_400)

    func run() async throws {
        let client = RedisClient(try StoreOptions.redisAddress(redisURL))
        let about = try await client.command("INFO", "cluster").text ?? ""
        if about.contains("cluster_enabled:1") {
            throw ValidationError("this is a Redis Cluster; the benchmark is of one server")
        }
        guard case .integer(0) = try await client.command("DBSIZE") else {
            throw ValidationError(
                "there are keys in this database of Redis; give an empty one, as redis://host:6379/15"
            )
        }
        let cache = FeedCache("bench", on: client)
        let encoder = ListEncoder(format, ids: (0..<items).map { String(1_000_000 + $0) })
        let before = try await server(client)
        let own = processorSeconds()
        let start = ContinuousClock.now
        let lists = Lists(items: items, k: k, layout: layout)
        // As `predict` writes them: on the one thread of a slot.
        let slot = SerialQueueExecutor(label: "larder.slot")
        let bytes = try await Task(executorPreference: slot) { [users, rate] in
            try await lists.write(users, to: cache, as: encoder, rate: rate)
        }.value
        let seconds = (ContinuousClock.now - start) / .seconds(1)
        let after = try await server(client)
        let spent = processorSeconds() - own
        try await publish(cache) { user in
            let list = lists.list(user)
            return encoder.encode(list.items, scores: list.scores)
        }
        let total = (ContinuousClock.now - start) / .seconds(1)
        let count = Double(users)
        var measured = [
            Measurement(what: "lists written", value: count / seconds, unit: "lists/s"),
            Measurement(what: "our processor", value: spent / count * 1e6, unit: "µs a list"),
            Measurement(
                what: "our share of a core",
                value: spent / seconds,
                unit: "of one"
            ),
            Measurement(
                what: "Redis' share of its core",
                value: (after.seconds - before.seconds) / seconds,
                unit: "of one"
            ),
            Measurement(what: "sent", value: Double(bytes) / count, unit: "bytes a list"),
            Measurement(
                what: "memory of Redis",
                value: (after.bytes - before.bytes) / count,
                unit: "bytes a list"
            ),
            Measurement(what: "verified and live after", value: total, unit: "s"),
        ]
        if inPlace {
            let start = ContinuousClock.now
            let bytes = try await Task(executorPreference: slot) { [users, rate] in
                try await lists.write(users, to: cache, as: encoder, rate: rate)
            }.value
            let seconds = (ContinuousClock.now - start) / .seconds(1)
            guard bytes == 0 else { throw CacheError.damaged("lists are not as they were written") }
            measured.append(
                Measurement(what: "found unchanged", value: count / seconds, unit: "lists/s")
            )
        }
        try await client.command("FLUSHDB")
        for measurement in measured { try measurement.show(json: json) }
    }

    private var layout: ListLayout {
        inPlace ? .inPlace : compact ? .compact(users) : .keys
    }

    private func publish(_ cache: FeedCache, _ list: (Int) -> [UInt8]) async throws {
        let ids = stride(from: 0, to: users, by: max(1, users / 1000))
        try await cache.writeHead(
            list(0),
            FeedCache.Meta(
                format: format,
                k: k,
                spare: 0,
                layout: layout,
                listsFor: "users",
                count: users,
                dataset: "none",
                model: "none",
                created: Date.now.ISO8601Format()
            ),
            release: Self.release,
            expire: Self.expire
        )
        try await cache.verify(
            ids.map { user in
                FeedCache.Sample(
                    id: Array("u\(user)".utf8),
                    fingerprint: Fingerprint(list(user))
                )
            },
            release: Self.release,
            format: format,
            k: k
        )
        try await cache.flip(from: nil, to: Self.release, token: 1, .publish)
    }

    /// The processor time that Redis has used, in seconds, and the memory that it uses.
    private func server(_ client: RedisClient) async throws -> (seconds: Double, bytes: Double) {
        let text = try await client.command("INFO").text ?? ""
        func number(_ name: String) -> Double {
            text.firstRange(of: "\(name):").flatMap { found in
                Double(text[found.upperBound...].prefix { $0.isNumber || $0 == "." })
            } ?? 0
        }
        return (
            number("used_cpu_sys") + number("used_cpu_user"), number("used_memory")
        )
    }

    private func processorSeconds() -> Double {
        Double(clock()) / Double(CLOCKS_PER_SEC)
    }
}

/// A list of each user, without two of the same item.
private struct Lists {
    let items: Int
    let k: Int
    let layout: ListLayout

    @concurrent func write(
        _ users: Int,
        to cache: FeedCache,
        as encoder: ListEncoder,
        rate: Int?
    ) async throws -> Int {
        let size = ListBatch.size(rate: rate)
        var first = 0
        return try await cache.write(rate: rate) {
            guard first < users else { return nil }
            let part = first..<min(first + size, users)
            first += size
            let (release, expire) = (RedisBenchCommand.release, RedisBenchCommand.expire)
            if layout == .inPlace {
                let lists = part.map { user in
                    let list = list(user)
                    return (
                        id: Array("u\(user)".utf8)[...],
                        list: encoder.encode(list.items, scores: list.scores)
                    )
                }
                return try await cache.changes(lists, release: release, expire: expire) { _, _ in }
            }
            var batch = cache.batch(release: release, layout, expire: expire)
            for user in part {
                let (id, list) = (Array("u\(user)".utf8)[...], list(user))
                batch.append(id, list.items, scores: list.scores, as: encoder)
            }
            return batch
        }
    }

    func list(_ user: Int) -> (items: [Int32], scores: [Float]) {
        // A step that is odd and below the items meets none twice.
        let step = user % (items / k) | 1
        let first = user * 7919 % items
        return (
            (0..<k).map { Int32((first + $0 * step) % items) },
            (0..<k).map { 1 / Float($0 + user % 7 + 1) }
        )
    }
}

extension ListFormat: ExpressibleByArgument {}
