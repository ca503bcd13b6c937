// SPDX-License-Identifier: Apache-2.0
import CacheWriter
import Foundation
import Jobs
import Predictor

/// Makes lists and writes them to Redis under the run's release.
///
/// Without arguments it reserves the release and fans out into shards; with a shard it makes the
/// lists of that range of users or items.
struct PredictStep {
    private let input: StepInput

    init(_ input: StepInput) { self.input = input }

    private struct Arguments: Codable {
        struct Shard: Codable {
            let release: Int
            let first: Int
            let end: Int
        }
        var shard: Shard?
    }

    /// Lists that `publish` reads back, over all shards.
    private static let samples = 1000

    func run() async throws -> JobResult {
        guard let shard = try input.arguments(Arguments.self).shard else {
            return try await split()
        }
        return try await makeLists(shard)
    }

    // MARK: split

    private func split() async throws -> JobResult {
        let (datasetID, dataset) = try input.dataset()
        let predict = input.pipeline.predict
        let release = try await input.services.releases.reserve(
            feed: input.pipeline.feed,
            run: input.run,
            listsFor: predict.audience.rawValue,
            format: input.pipeline.publish.format,
            k: predict.rules.k,
            dataset: datasetID,
            model: input.results.get("refit", TrainResult.self).model
        )
        let count = predict.audience == .users ? dataset.users.count : dataset.items.count
        let starts = Array(stride(from: 0, to: count, by: predict.shard))
        let jobs = try starts.enumerated().map { place, first in
            let shard = Arguments.Shard(
                release: release,
                first: first,
                end: min(first + predict.shard, count)
            )
            let arguments = try JSONEncoder().encode(Arguments(shard: shard))
            return NewJob(
                name: "predict \(place + 1)/\(starts.count)",
                kind: "predict",
                args: String(decoding: arguments, as: UTF8.self),
                timeout: .seconds(3600)
            )
        }
        return try JobResult(
            PredictResult(release: release, shards: jobs.count),
            fanOut: FanOut(jobs, join: RunPlan.publishName)
        )
    }

    // MARK: one shard

    private func makeLists(_ shard: Arguments.Shard) async throws -> JobResult {
        let (_, dataset) = try input.dataset()
        let (_, model) = try input.model(from: "refit", dataset)
        let cache = input.services.cache(input.pipeline.feed)
        let encoder = ListEncoder(
            ListFormat(rawValue: input.pipeline.publish.format) ?? .json,
            ids: (0..<dataset.items.count).lazy.map { dataset.items[$0] }
        )
        let ids = input.pipeline.predict.audience == .users ? dataset.users : dataset.items
        let ranker = Ranker(
            model,
            fallback: Popularity.train(dataset, on: .all),
            input.pipeline.predict.rules
        )
        let total = shard.end - shard.first
        let everyNth = max(1, ids.count / Self.samples)
        var written = 0
        var bytes = 0
        var entries = 0
        var cold = 0
        var samples: [ShardResult.Sample] = []
        // 4,096 lists are a few MiB: memory stays flat, and a cancel is obeyed soon.
        for first in stride(from: shard.first, to: shard.end, by: 4096) {
            let range = first..<min(first + 4096, shard.end)
            try input.progress(
                Double(first - shard.first) / Double(total),
                "\(written) of \(total) lists written"
            )
            var batch: [FeedCache.List] = []
            for (index, list) in zip(range, try lists(ranker, dataset, range)) {
                if list.isCold { cold += 1 }
                // An unknown item gets what the default list says anyway. A user who is unknown to
                // the model still gets a list, because what was seen must not be in it.
                if list.isCold && input.pipeline.predict.audience == .items { continue }
                entries += list.items.count
                let encoded = encoder.encode(list.items, scores: list.scores)
                batch.append(
                    FeedCache.List(id: ids.ids.bytes[ids.ids.range(index)], bytes: encoded)
                )
                if index % everyNth == 0 {
                    samples.append(
                        ShardResult.Sample(index: index, fingerprint: Fingerprint(encoded))
                    )
                }
            }
            bytes += try await cache.write(
                batch,
                release: shard.release,
                expire: .seconds(input.pipeline.publish.expireSeconds)
            )
            written += batch.count
        }
        return try JobResult(
            ShardResult(
                lists: written,
                entries: entries,
                bytes: bytes,
                cold: cold,
                samples: samples
            )
        )
    }

    private func lists(
        _ ranker: Ranker,
        _ dataset: Dataset,
        _ range: Range<Int>
    ) throws -> [RankedList] {
        let stop = { (_: Double) throws in try input.context.checkStop() }
        return switch input.pipeline.predict.audience {
        case .users:
            try ranker.lists(
                forHistories: range.map { Array(dataset.eventItems[dataset.events(ofUser: $0)]) },
                progress: stop
            )
        case .items:
            try ranker.lists(forItems: range.map { Int32($0) }, progress: stop)
        }
    }
}
